"""Characters of a text: what counts as one, and code points as arrays.

A character is one Unicode code point. White space is what `str.isspace` says, so that line breaks
and indents, which belong to an edition and not to an author, never enter a rate.
"""

from __future__ import annotations

import numpy as np

WHITESPACE = np.array([c for c in range(0x3001) if chr(c).isspace()], dtype=np.int32)
# Larger than every code point (0x10FFFF) and still 21 bits: stands where one text ends.
END = 0x110000


def without_whitespace(text: str) -> str:
    """The text with all white space removed."""
    return "".join(text.split())


def code_points(text: str) -> np.ndarray:
    """Code points of the text, int32 `[len(text)]`; lone surrogates are kept as they are."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.int32)
