from __future__ import annotations

import pytest

from stylellm.corpus.script import convert, to_simplified, to_traditional
from stylellm.errors import DataError


def test_phrases_decide_between_characters() -> None:
    assert to_simplified("乾坤未定，衣衫已乾淨") == "乾坤未定，衣衫已干净"
    assert to_traditional("头发散乱，发现皇后在后面") == "頭髮散亂，發現皇后在後面"


def test_particles_of_old_editions_become_simplified_ones() -> None:
    assert to_simplified("說著話，寫著名姓，祇有一人") == "说着话，写着名姓，只有一人"
    assert to_simplified("著名的著作，顯著，神祇") == "著名的著作，显著，神祇"


def test_simplified_text_keeps_its_own_characters() -> None:
    text = "他拚命奔逃，只觉得乾坤颠倒，藉着月光看去，土坏墙外空无一人。" * 5
    assert to_simplified(text) == text
    assert to_simplified(text + "後來") == text + "后来"


def test_keep_and_unknown() -> None:
    assert convert("乾淨", "keep") == "乾淨"
    with pytest.raises(DataError, match="simplified, traditional, keep"):
        convert("乾淨", "latin")
    assert convert("", "simplified") == convert("", "traditional") == ""
