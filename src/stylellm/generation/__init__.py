"""Sampling text from base and policy."""
