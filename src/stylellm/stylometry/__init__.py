"""Strings in, numbers out: no torch, no model."""
