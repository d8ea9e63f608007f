from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stylellm.corpus.packing import Row, pack


def _row(number: int, tokens: int, ends: bool, work: str = "集") -> Row:
    return Row("字" * tokens, tokens, work, str(number), ends, (tokens,), 0)


ROWS = st.lists(st.tuples(st.integers(1, 55), st.booleans(), st.sampled_from("甲乙")), max_size=30)


@given(ROWS)
def test_nothing_is_lost_and_everything_fits(drawn: list[tuple[int, bool, str]]) -> None:
    rows = [_row(i, tokens, ends, work) for i, (tokens, ends, work) in enumerate(drawn)]
    packed = list(pack(rows, 64, reserve=8))
    assert sum(row.num_tokens for row in packed) == sum(row.num_tokens for row in rows)
    lengths = sorted(length for row in packed for length in row.documents)
    assert lengths == sorted(len(row.text) for row in rows)
    for row in packed:
        assert sum(row.documents) == len(row.text)
        if len(row.documents) > 1:
            assert row.ends_document
            assert row.num_tokens + 8 * len(row.documents) <= 64


def test_short_texts_share_a_window_and_long_ones_do_not() -> None:
    rows = [_row(1, 10, True), _row(2, 12, True), _row(3, 40, True), _row(4, 5, False)]
    packed = list(pack(rows, 64, reserve=8))
    assert {row.documents for row in packed} == {(10, 12), (40,), (5,)}
    assert "1 (+1)" in {row.chapter for row in packed}


def test_works_are_kept_apart() -> None:
    packed = list(pack([_row(1, 5, True, "甲"), _row(2, 5, True, "乙")], 64))
    assert [row.work for row in packed] == ["甲", "乙"]
