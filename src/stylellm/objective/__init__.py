"""Reconstruction + beta * KL: a readable definition and a chunked, exact computation of it."""
