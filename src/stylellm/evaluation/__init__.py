"""Likelihood, style and copying joined into evaluation.json and report.html."""
