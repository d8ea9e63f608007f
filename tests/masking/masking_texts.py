"""Random texts for the masking tests: prose, and everything that breaks naive string handling."""

from __future__ import annotations

from hypothesis import strategies as st

RARE = (
    "\U00020000\U0002a6d6\U00030000"  # CJK extension B and G
    "😀👩‍👩‍👧🇨🇳"  # emoji, joined emoji, a flag of two code points
    "e\u0301a\u0308\u0301"  # combining marks
    "\u3000 \t\n\r\n"  # white space
    "\ufeff\u200b\u200d"  # invisible characters
    "豈\u00c5"  # normalised to other characters by NFC, or already one
)
PROSE = "剑光一闪，人已倒地。他笑道：“你来了？”不可能罢了又却竟ABC 12"


def texts(min_size: int = 0, max_size: int = 120) -> st.SearchStrategy[str]:
    """Texts of prose mixed with rare characters, and sometimes with any character at all."""
    anything = st.characters(exclude_categories=["Cs"])  # a decoded book holds no surrogates
    characters = st.one_of(st.sampled_from(PROSE), st.sampled_from(PROSE + RARE), anything)
    return st.text(characters, min_size=min_size, max_size=max_size)
