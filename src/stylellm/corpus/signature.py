"""Signatures of chapters: all that is needed to find what stands in the books twice.

A signature holds a 64-bit hash of every paragraph's letters (exact repeats) and MinHash sketches of
the chapter and of its long paragraphs (near repeats), a fifth of the text's size or less. Letters
are folded as in `letters`, so that script, punctuation and line breaks of an edition do not count.

The shingles (runs of three letters) are hashed here, with numpy; the MinHash is rensa's R-MinHash
over all of them (fast similarity sketching, Dahlgaard et al. 2017), about 5 ns a shingle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stylellm.corpus.letters import fold
from stylellm.corpus.split import Chapter

MIN_LETTERS = 30
"""Shorter paragraphs recur in any novel (且听下回分解) and are never called duplicates."""
MIN_NEAR_LETTERS = 80
"""Of paragraphs and chapters for which near duplicates are looked for."""
SHINGLE = 3
CHAPTER_SLOTS = 1024
PARAGRAPH_SLOTS = 64
_SEED = 42
# rensa starts threads of its own above 256 rows or 65536 shingles a call, and a process forked
# after that would hang in its next call.
_MAX_ROWS, _MAX_SHINGLES = 128, 1 << 15


@dataclass(frozen=True, eq=False, slots=True)
class Signature:
    """What one chapter's text is compared by. P paragraphs of 30 letters or more, Q long ones.

    Attributes:
        letters: letters of the chapter, its title not counted.
        paragraphs: number of paragraphs, short ones counted.
        exact: hash of all letters; 0 for fewer than `MIN_LETTERS`.
        sketch: MinHash of the chapter, uint8 `[1024]`; `[0]` for fewer than `MIN_NEAR_LETTERS`.
        numbers: which paragraphs the P are, int32 `[P]`.
        lengths: their letters, int32 `[P]`.
        hashes: of their letters, uint64 `[P]`.
        sketches: MinHash of the Q with `MIN_NEAR_LETTERS` or more, uint8 `[Q, 64]`, in order.
    """

    letters: int
    paragraphs: int
    exact: int
    sketch: np.ndarray
    numbers: np.ndarray
    lengths: np.ndarray
    hashes: np.ndarray
    sketches: np.ndarray


def sign(chapter: Chapter, *, near: bool = True) -> Signature:
    """The signature of a chapter: the same in every process and on every machine.

    Args:
        chapter: what is signed.
        near: make the sketches as well; without them only exact repeats are found.
    """
    letters, begins, ends = _letters(chapter.paragraphs)
    lengths = ends - begins
    numbers = np.flatnonzero(lengths >= MIN_LETTERS)
    spans = list(zip(begins[numbers].tolist(), ends[numbers].tolist(), strict=True))
    long_texts = [letters[a:b] for a, b in spans if near and b - a >= MIN_NEAR_LETTERS]
    data = letters.astype("<u4", copy=False).data.cast("B")
    whole = [letters] if near and len(letters) >= MIN_NEAR_LETTERS else []
    return Signature(
        letters=len(letters),
        paragraphs=len(chapter.paragraphs),
        exact=_hash(data) if len(letters) >= MIN_LETTERS else 0,
        sketch=_sketches(whole, CHAPTER_SLOTS).ravel(),
        numbers=numbers.astype(np.int32),
        lengths=lengths[numbers].astype(np.int32),
        hashes=np.array([_hash(data[4 * a : 4 * b]) for a, b in spans], dtype=np.uint64),
        sketches=_sketches(long_texts, PARAGRAPH_SLOTS),
    )


def _letters(paragraphs: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All letters one after the other, and where each paragraph's begin and end among them."""
    folded = fold("".join(paragraphs))
    kept = np.flatnonzero(folded)
    sizes = np.fromiter(map(len, paragraphs), dtype=np.int64, count=len(paragraphs))
    places = np.searchsorted(kept, np.concatenate([[0], np.cumsum(sizes)]))
    return folded[kept], places[:-1], places[1:]


def _hash(data: memoryview) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _sketches(texts: list[np.ndarray], slots: int) -> np.ndarray:
    """MinHash of each text's letters, the lowest 8 bits (Li and König 2010), `[len(texts), slots]`.

    The sketch of a text that is too long for one call is, slot by slot, the smallest of its parts'.
    """
    if not texts:
        return np.zeros((0, slots), dtype=np.uint8)
    parts: list[np.ndarray] = []
    firsts = []
    for text in texts:
        firsts.append(len(parts))
        begins = range(0, len(text) - SHINGLE + 1, _MAX_SHINGLES)
        parts += [text[at : at + _MAX_SHINGLES + SHINGLE - 1] for at in begins]
    found = np.concatenate([_minhash(batch, slots) for batch in _batches(parts)])
    return np.minimum.reduceat(found, firsts, axis=0).astype(np.uint8)


def _batches(parts: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """The parts in calls of bounded size."""
    batch: list[np.ndarray] = []
    room = _MAX_SHINGLES
    for part in parts:
        if batch and (len(batch) == _MAX_ROWS or len(part) > room):
            yield batch
            batch, room = [], _MAX_SHINGLES
        batch.append(part)
        room -= len(part)
    yield batch


def _minhash(parts: list[np.ndarray], slots: int) -> np.ndarray:
    """MinHash of each part's shingles, uint32 `[len(parts), slots]`."""
    from rensa import RMinHash

    ends = np.cumsum([len(part) for part in parts])
    crossing = np.concatenate([ends[:-1] - 2, ends[:-1] - 1])
    shingles = np.delete(_shingles(np.concatenate(parts)), crossing)
    offsets = np.concatenate([[0], ends - (SHINGLE - 1) * np.arange(1, len(parts) + 1)])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(
        shingles, offsets.astype(np.uint64), slots, _SEED
    )
    return np.array(matrix.to_rows(), dtype=np.uint32)


def _shingles(letters: np.ndarray) -> np.ndarray:
    """A 64-bit number for each run of three letters, uint64 `[len(letters) - 2]`, all distinct."""
    wide = letters.astype(np.uint64)
    packed = wide[:-2] << np.uint64(42) | wide[1:-1] << np.uint64(21) | wide[2:]
    packed *= np.uint64(0x9E3779B97F4A7C15)  # spreads the letters' few bits over all 64
    return packed ^ packed >> np.uint64(32)
