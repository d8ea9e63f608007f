"""Books in, clean windows out."""
