"""Fetches models from Hugging Face, its mirror or ModelScope, and finds them again by their id."""
