from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus import signature
from stylellm.corpus.dedup import find_duplicates
from stylellm.corpus.letters import fold
from stylellm.corpus.signature import sign
from stylellm.corpus.split import Chapter

SAMPLE = "".join(chr(0x4E00 + (k * k * 31 + 7 * k) % 900) for k in range(3000))


def letters(text: str) -> str:
    return "".join(chr(code) for code in fold(text) if code)


def resemblance(one: str, other: str) -> float:
    """Jaccard of the sets of three letters, counted."""
    a, b = ({text[k : k + 3] for k in range(len(text) - 2)} for text in map(letters, (one, other)))
    return len(a & b) / len(a | b)


def equal_slots(one: np.ndarray, other: np.ndarray) -> float:
    return float(((one == other).mean() - 1 / 256) / (1 - 1 / 256))


def test_editions_fold_to_the_same_letters() -> None:
    assert (
        letters("却说：“ＡＢ，乾坤裏的頭髮！”\n")
        == letters("卻說「ab乾坤里的头发」")
        == "却说ab干坤里的头发"
    )
    assert letters("著了。祇箇１") == "着了只个1"
    assert letters("，。…—\u3000\n_\ud800\U000e0100") == ""
    assert len(fold("a，\U00020000")) == 3


@given(st.text(max_size=60))
def test_only_letters_and_digits_have_codes(text: str) -> None:
    codes = fold(text)
    assert len(codes) == len(text)
    assert [code != 0 for code in codes] == [char.isalnum() for char in text]


def test_a_signature_describes_its_chapter() -> None:
    long, short = SAMPLE[:100], SAMPLE[200:250]
    chapter = Chapter("题目", ("罢了。", long + "。", "", short))
    signed = sign(chapter)
    assert (signed.letters, signed.paragraphs) == (152, 4)
    assert signed.numbers.tolist() == [1, 3]
    assert signed.lengths.tolist() == [100, 50]
    assert signed.sketches.shape == (1, signature.PARAGRAPH_SLOTS)
    assert signed.hashes[0] == sign(Chapter("", (long,))).exact
    assert sign(Chapter("别的", chapter.paragraphs)).exact == signed.exact


def test_a_signature_is_small_and_can_be_stored() -> None:
    chapter = Chapter("", tuple(SAMPLE[k : k + 150] for k in range(0, 3000, 150)))
    stored = pickle.dumps(sign(chapter), protocol=5)
    assert len(stored) < len(chapter.text.encode()) / 2
    again = pickle.loads(stored)
    assert (again.sketches == sign(chapter).sketches).all()
    assert again.exact == sign(chapter).exact


@pytest.mark.parametrize("paragraphs", [(), ("",), ("罢了。",), ("……",) * 3])
def test_next_to_nothing_is_signed_too(paragraphs: tuple[str, ...]) -> None:
    signed = sign(Chapter("", paragraphs))
    assert (len(signed.sketch), len(signed.hashes), len(signed.sketches)) == (0, 0, 0)
    assert signed.exact == 0


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.floats(0.0, 0.4))
def test_sketches_estimate_the_jaccard_similarity(seed: int, rate: float) -> None:
    random = np.random.default_rng(seed)
    codes = random.integers(0x4E00, 0x4E00 + 800, size=1500)
    other = np.where(random.random(1500) < rate, codes + 800, codes)
    one, two = ("".join(map(chr, text)) for text in (codes, other))
    a, b = sign(Chapter("", (one,))), sign(Chapter("", (two,)))
    expected = resemblance(one, two)
    # Five standard deviations of the estimate, sqrt(J (1 - J) / slots).
    for slots, x, y in ((1024, a.sketch, b.sketch), (64, a.sketches, b.sketches)):
        width = 5 * (expected * (1 - expected) / slots) ** 0.5 + 0.01
        assert abs(equal_slots(x, y) - expected) < width


def test_long_texts_are_sketched_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    chapter = Chapter("", (SAMPLE, SAMPLE[:90], SAMPLE[700:1700]))
    whole = sign(chapter)
    monkeypatch.setattr(signature, "_MAX_SHINGLES", 200)
    monkeypatch.setattr(signature, "_MAX_ROWS", 2)
    parts = sign(chapter)
    assert (parts.sketch == whole.sketch).all()
    assert (parts.sketches == whole.sketches).all()


def test_where_paragraphs_end_does_not_change_the_chapter() -> None:
    one = sign(Chapter("", (SAMPLE,)))
    two = sign(Chapter("", tuple(SAMPLE[k : k + 7] + "。" for k in range(0, 3000, 7))))
    assert one.exact == two.exact
    assert (one.sketch == two.sketch).all()


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")  # noqa: PTH112
def test_signing_starts_no_threads() -> None:
    """Threads of the library would leave a forked worker process hanging."""
    code = (
        "import os\n"
        "from stylellm.corpus.signature import sign\n"
        "from stylellm.corpus.split import Chapter\n"
        "text = ''.join(chr(0x4E00 + k * k % 5000) for k in range(150_000))\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "sign(Chapter('', (text, *(text[k : k + 90] for k in range(1000)))))\n"
        "print(len(os.listdir('/proc/self/task')) - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == "0"


def test_without_sketches_only_exact_repeats_are_seen() -> None:
    text = "".join(chr(0x4E00 + 7 * i % 3000) for i in range(400))
    one = Chapter("", (text,))
    other = Chapter("", (text[:-3] + "另有三",))
    bare = sign(one, near=False)
    assert bare.exact == sign(one).exact and bare.hashes.tolist() == sign(one).hashes.tolist()
    assert bare.sketch.size == 0 and len(bare.sketches) == 0
    for near, found in ((True, 1), (False, 0)):
        signed = [(0, 0, sign(one, near=near)), (1, 0, sign(other, near=near))]
        assert len(find_duplicates(signed, threshold=0.8 if near else 0).chapters) == found
    twice = [(0, 0, bare), (1, 0, sign(one, near=False))]
    assert list(find_duplicates(twice, threshold=0).chapters) == [(1, 0)]
