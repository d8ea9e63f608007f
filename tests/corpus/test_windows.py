from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.chunk import cut_windows, sentences, token_counter
from stylellm.corpus.tokens import TokenPlaces
from stylellm.corpus.windows import cut_texts
from stylellm.errors import DataError

ODD = st.text(
    alphabet=st.sampled_from("剑光一闪，人已倒地。！？…“”‘’（）—：；a1 .!?\n\u3000𠮷龘é\u0301豈"),
    max_size=400,
)


@pytest.fixture(scope="module")
def places(tokenizer: Any) -> TokenPlaces:
    return TokenPlaces(tokenizer.backend_tokenizer)


def _texts(text: str, ends: np.ndarray) -> list[str]:
    bounds = [0, *ends.tolist()]
    return [text[a:b] for a, b in pairwise(bounds)]


def _check(texts: list[str], tokenizer: Any, places: TokenPlaces, size: int) -> int:
    """Nothing lost, everything fits, and every count is what the tokenizer says; the windows."""
    windows = 0
    for text, (ends, tokens) in zip(texts, cut_texts(texts, places, size), strict=True):
        parts = _texts(text, ends)
        assert "".join(parts) == text
        assert all(parts)
        counted = token_counter(tokenizer)(parts)
        assert counted == tokens.tolist()
        assert max(counted, default=0) <= size - 8 - 1
        windows += len(parts)
    return windows


@given(st.lists(ODD, max_size=3), st.integers(32, 90))
@settings(max_examples=60, deadline=None)
def test_odd_texts_are_cut_without_loss(
    tokenizer: Any, places: TokenPlaces, texts: list[str], size: int
) -> None:
    assert _check(texts, tokenizer, places, size) >= sum(map(bool, texts))


def test_prose_is_cut_as_by_counting_every_sentence(
    tokenizer: Any, places: TokenPlaces, make_book: Any
) -> None:
    """The slow way, which asks the tokenizer about every sentence, is the oracle."""
    texts = make_book(6, 12, seed=4).split("\n\n")
    fast = _check(texts, tokenizer, places, 200)
    slow = sum(
        len(cut_windows(text, token_counter(tokenizer), 200, ends_document=False)) for text in texts
    )
    assert fast == slow
    for text, (ends, _) in zip(texts, cut_texts(texts, places, 200), strict=True):
        whole = {0}
        for sentence in sentences(text):
            whole.add(max(whole) + len(sentence))
        assert set(ends.tolist()) <= whole


@pytest.mark.parametrize(
    "text", ["无" * 120_000, "“" * 60_000, "剑光，" * 40_000, "e\u0301" * 30_000]
)
def test_one_endless_line(tokenizer: Any, places: TokenPlaces, text: str) -> None:
    ends, tokens = cut_texts([text], places, 512)[0]
    assert ends[-1] == len(text)
    assert (np.diff(ends, prepend=0) > 0).all()
    assert tokens.max() <= 503
    sample = _texts(text, ends)[:: max(1, len(ends) // 20)]
    assert all(part[0] != "\u0301" for part in sample)


def test_token_starts_agree_with_the_tokenizers_offsets(
    tokenizer: Any, places: TokenPlaces, make_book: Any
) -> None:
    texts = [make_book(1, 3, seed=5), "𠮷龘一二", "", "e\u0301豈 plain <|endoftext|> text"]
    for text, found in zip(texts, places.tokens(texts), strict=True):
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        assert found.starts.tolist() == [start for start, _ in offsets["offset_mapping"]]
        assert found.ids.tolist() == offsets["input_ids"]


@given(st.lists(ODD, min_size=20, max_size=40), st.sampled_from(["\n", "\n\n", " \n", "。\n "]))
@settings(max_examples=30, deadline=None)
def test_long_texts_have_the_same_tokens_in_pieces(
    tokenizer: Any, places: TokenPlaces, parts: list[str], between: str
) -> None:
    text = between.join(parts) * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stylellm.corpus.tokens._PIECE", 60)
        found = places.tokens([text])[0]
    assert found.ids.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_pieces_end_with_lines(tokenizer: Any, places: TokenPlaces, make_book: Any) -> None:
    text = make_book(6, 12, seed=4)
    pieces = places._pieces(text)
    assert len(pieces) > 1
    assert "".join(pieces) == text
    assert all(piece.endswith("\n") for piece in pieces[:-1])


def test_lines_are_not_parted_where_the_tokenizer_joins_them() -> None:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    letters = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {letter: number for number, letter in enumerate(sorted(letters))}
    text = "a b\nc\n" * 1000
    joined = Tokenizer(models.BPE(vocabulary | {"bĊ": 256, "bĊc": 257}, [("b", "Ċ"), ("bĊ", "c")]))
    joined.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    eager = Tokenizer(models.BPE(vocabulary, []))
    eager.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    eager.add_special_tokens([AddedToken("c", lstrip=True)])
    for backend in (joined, eager):
        found = TokenPlaces(backend).tokens([text])[0]
        assert found.ids.tolist() == backend.encode(text).ids


def test_form_c_is_made_where_it_is_missing() -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, []))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.add_special_tokens(["<|end|>"])
    texts = ["剑光<|end|>", "e\u0301<|end|>", "\u00e9"]
    for text in texts:
        assert TokenPlaces(backend).ids([text]) == [backend.encode(text).ids]
    assert TokenPlaces(backend).ids(texts) == [backend.encode(text).ids for text in texts]
    assert backend.normalizer is not None


def test_a_tokenizer_that_normalises_is_asked_for_its_offsets() -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    backend = Tokenizer(models.WordLevel(unk_token="?"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.train_from_iterator(["one two three"], trainers.WordLevelTrainer(special_tokens=["?"]))
    assert TokenPlaces(backend).tokens(["ONE  two. Three"])[0].starts.tolist() == [0, 5, 8, 10]


def test_no_room_for_one_character_is_an_error(places: TokenPlaces) -> None:
    with pytest.raises(DataError, match="max_length"):
        cut_texts(["𠮷龘" * 20], places, 10)


def test_truncation_set_on_the_tokenizer_is_not_used(tokenizer: Any, make_book: Any) -> None:
    import copy

    cut = copy.deepcopy(tokenizer)
    cut.backend_tokenizer.enable_truncation(5)
    assert TokenPlaces(cut.backend_tokenizer).count([make_book(1)])[0] > 100


@pytest.mark.corpus
@pytest.mark.slow
def test_a_real_novel_is_counted_exactly(
    corpus_dir: Path, tokenizer: Any, places: TokenPlaces
) -> None:
    text = (corpus_dir / "wuxia" / "水浒传.txt").read_text(encoding="utf-8")[:200_000]
    assert _check([text[:90_000], text[90_000:]], tokenizer, places, 512) > 400
