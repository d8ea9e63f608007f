"""StyleLLM: teach a causal language model an author's style from raw books."""

__version__ = "0.1.0"
