"""The report: its files, its safety, its numbers, and a verdict that says what they say."""

from __future__ import annotations

import copy
import json
import math
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylellm.errors import DataError, OutputError
from stylellm.evaluation import marked, plots, report, style_plots, tables
from stylellm.evaluation.report import to_html, to_json, to_markdown, write_report
from stylellm.evaluation.scale import positions
from stylellm.evaluation.verdict import judge, suffix_verdict

ROWS = ("base", "policy", "other_author", "held_out_author")
HOSTILE = '<script>alert("x")</script><img src=http://evil.example/a.png onerror=alert(1)>'


def likelihood(nll: float) -> dict[str, float]:
    bits = nll / math.log(2) / 1.4
    return {"nll_per_token": nll, "perplexity": math.exp(nll), "bits_per_character": bits}


def by_row(*values: Any) -> dict[str, Any]:
    return dict(zip(ROWS, values, strict=True))


def make_result() -> dict[str, Any]:
    """A result in the form of evaluate_policy in which the policy is better in every way."""
    overlaps = by_row((0.8, 0.3), (0.85, 0.45), (0.82, 0.35), (0.9, 0.5))
    words = {"的": 30.25, "了": 18.5, "不": 12.0, "罢了": 0.5}
    return {
        "provenance": {
            "model": "tiny", "kl_beta": 0.1, "seed": None, "versions": {"torch": "2.13.0"},
        },
        "samples": [
            {"prompt": "剑光一闪", "base": "天亮了。", "policy": "那人笑道：“好剑法！”"},
            {"prompt": "夜已深，", "base": HOSTILE, "policy": "| a | *b* <b>粗</b>"},
        ],
        "author": {"base": likelihood(5.0), "policy": likelihood(4.5)},
        "general": {"base": likelihood(4.0), "policy": likelihood(4.05)},
        "drift_kl": 0.0321,
        "num_tokens": {"author": 12345, "general": 6789},
        "suffix_gain": {
            "n": 432.0,
            "base": {"nll_prefix_only": 5.1, "nll_infill": 5.4, "suffix_gain": -0.3},
            "policy": {"nll_prefix_only": 4.6, "nll_infill": 4.35, "suffix_gain": 0.25},
        },
        "ngram_overlap": {
            name: {"1": one, "2": two} for name, (one, two) in overlaps.items()
        },
        "function_word_jsd": by_row(0.05, 0.03, 0.04, 0.01),
        "function_word_rates": {
            name: {word: rate * factor for word, rate in words.items()}
            for name, factor in zip(("author", *ROWS), (1.0, 0.5, 0.8, 1.2, 0.9), strict=True)
        },
        "rep_4": by_row(0.0512, 0.0234, 0.0345, 0.0421),
        "distinct_2": by_row(0.611, 0.722, 0.633, 0.744),
        "longest_copy": by_row(
            {"length": 4, "text": "天亮了。"},
            {"length": 5, "text": "“好剑法！"},
            {"length": 6, "text": "且听下回分解"},
            {"length": 9, "text": "欲知后事如何，且听"},
        ),
        "num_characters": by_row(60001, 60002, 60003, 60004),
        "small_sample": False,
    }  # fmt: skip


def write_log(path: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for step in range(10, 60, 10):
        rows.append({"step": step, "reconstruction": 5 - step / 100, "kl": step / 1000,
                     "general_kl": step / 2000, "num_general": 10.0})  # fmt: skip
    rows.append({"step": 50, "eval_author_nll": 4.5, "eval_jsd": 0.02, "eval_runtime": 3.0})
    rows.append({"step": 50, "train_runtime": 9.0})
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join([*lines, '{"step": 60, "recon']), encoding="utf-8")
    return path


class Page(HTMLParser):
    """Tables by class, tags with attributes, ids, and the text of each table cell."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.small: list[str] = []
        self._table: list[list[str]] | None = None
        self._cell: list[str] | None = None
        self._grey = False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        kind = attributes.get("class") or ""
        if tag == "table":
            self._table = self.tables.setdefault(kind.removeprefix("numbers "), [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th"):
            self._cell, self._grey = [], kind == "small"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None and self._table is not None:
            text = "".join(self._cell)
            self._table[-1].append(text)
            if self._grey:
                self.small.append(text)
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("报告 report")
    log = write_log(base / "train_log.jsonl")
    assert write_report(make_result(), base / "out", training_log=log) == base / "out/report.html"
    return base / "out"


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture
def result() -> dict[str, Any]:
    return make_result()


def worsen(result: dict[str, Any]) -> dict[str, Any]:
    """The same result with base and policy exchanged."""
    for key in ("author", "ngram_overlap", "function_word_jsd", "rep_4", "longest_copy"):
        values = result[key]
        values["base"], values["policy"] = values["policy"], values["base"]
    return result


def equalise(result: dict[str, Any]) -> dict[str, Any]:
    """The same result with the policy as good as the base: an adapter that does nothing."""
    keys = ("author", "general", "ngram_overlap", "function_word_jsd", "rep_4", "longest_copy")
    for key in keys:
        result[key]["policy"] = copy.deepcopy(result[key]["base"])
    result["drift_kl"] = 0.0
    return result


def text_of(result: dict[str, Any], language: str = "zh") -> str:
    return "".join(getattr(sentence, language) for sentence in judge(result).sentences)


# Files


def test_three_files_and_nothing_else(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["evaluation.json", "report.html", "report.md"]


def test_json_has_the_design_keys_first_then_the_rest(folder: Path) -> None:
    found = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    first = ["author", "general", "drift_kl", "ngram_overlap", "function_word_jsd"]
    assert list(found)[:5] == first
    expected = make_result()
    assert found == expected
    assert list(found)[5:] == [key for key in expected if key not in first]


def test_json_is_strict_and_takes_numpy(result: dict[str, Any]) -> None:
    result["drift_kl"] = float("nan")
    result["num_tokens"]["author"] = np.int64(7)
    result["rep_4"]["base"] = np.float32(0.5)
    result["provenance"]["folder"] = Path("a")
    del result["general"]

    def refuse(name: str) -> None:
        raise AssertionError(name)

    found = json.loads(to_json(result), parse_constant=refuse)
    assert found["drift_kl"] is None
    assert found["general"] is None
    assert found["num_tokens"]["author"] == 7
    assert found["rep_4"]["base"] == 0.5
    assert found["provenance"]["folder"] == "a"


def test_old_report_is_replaced(result: dict[str, Any], tmp_path: Path) -> None:
    for name in ("evaluation.json", "report.html", "report.md"):
        (tmp_path / name).write_text("old", encoding="utf-8")
    write_report(result, tmp_path)
    assert all(path.read_text(encoding="utf-8") != "old" for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 3


def test_output_that_is_a_file_is_refused(result: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="taken"):
        write_report(result, tmp_path / "taken")
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "mine"


def test_a_write_that_fails_leaves_nothing_behind(
    result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def full_disk(self: Path, *args: Any, **kwargs: Any) -> int:
        if "html" in self.name:
            raise OSError("no space left")
        return write(self, *args, **kwargs)

    monkeypatch.setattr(report, "to_html", lambda *a, **k: "")
    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OutputError, match="no space left"):
        write_report(result, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_result_without_likelihood_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="likelihood"):
        write_report({"samples": []}, tmp_path)


def test_result_is_not_changed(result: dict[str, Any]) -> None:
    to_html(result)
    assert result == make_result()


# Safety


def test_sample_text_is_escaped(html: str, page: Page) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;alert(" in html
    assert not {"script", "img", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_no_request_leaves_the_page(html: str, page: Page) -> None:
    links = [
        value or ""
        for _, attrs in page.tags
        for name, value in attrs.items()
        if name.split(":")[-1] in ("src", "href", "srcset", "data", "action")
    ]
    assert links, "the plots use references within the page"
    assert all(link.startswith("#") or link == "data:," for link in links)
    visible = html.replace("http://evil.example", "")  # the text of a sample, escaped
    assert not re.search(r"https?://|@import|url\((?!#)", visible)
    assert "default-src 'none'" in html


def test_markdown_is_escaped(result: dict[str, Any]) -> None:
    text = to_markdown(result)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert r"\| a \| \*b\* &lt;b&gt;粗" in text


def test_ids_are_unique_and_references_resolve(html: str, page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:href="#|url\(#)([^")]+)', html)
    assert references
    assert set(references) <= set(ids)


# What it shows


def test_chinese_and_english_stand_side_by_side(html: str) -> None:
    assert '<html lang="zh-CN">' in html
    assert '<meta charset="utf-8">' in html
    for words in ("风格评测报告", "Style report", "作者留出", "held-out author", "剑光一闪"):
        assert words in html


def numbers(cells: list[str]) -> list[float]:
    """Cells as numbers; a percentage as a share."""
    plain = [cell.replace(",", "").replace("−", "-") for cell in cells]
    return [float(c[:-1]) / 100 if c.endswith("%") else float(c) for c in plain]


def test_style_cells_are_the_numbers_of_the_result(page: Page) -> None:
    result = make_result()
    head, *rows = page.tables["style"]
    assert len(head) == 1 + 1 + 2 + 2 + 1 + 1
    assert len(rows) == 4
    for name, (label, *cells) in zip(ROWS, rows, strict=True):
        assert tables.ROW_STYLES[name].label.zh in label
        expected = [
            result["function_word_jsd"][name],
            result["ngram_overlap"][name]["1"],
            result["ngram_overlap"][name]["2"],
            result["rep_4"][name],
            result["distinct_2"][name],
            result["longest_copy"][name]["length"],
            result["num_characters"][name],
        ]
        assert numbers(cells) == pytest.approx(expected, abs=1e-9)


def test_likelihood_cells_are_the_numbers_of_the_result(page: Page) -> None:
    result = make_result()
    cells = [row[1:] for row in page.tables["likelihood"][1:]]
    pairs = [(text, which) for text in ("author", "general") for which in ("base", "policy")]
    for row, (text, which) in zip(cells, pairs, strict=True):
        expected = result[text][which]
        nll, perplexity, bits, tokens = numbers(row)
        assert nll == pytest.approx(expected["nll_per_token"], abs=5e-5)
        assert perplexity == pytest.approx(expected["perplexity"], abs=5e-3)
        assert bits == pytest.approx(expected["bits_per_character"], abs=5e-5)
        assert tokens == result["num_tokens"][text]


def test_suffix_cells_are_the_numbers_of_the_result(page: Page) -> None:
    gain = make_result()["suffix_gain"]
    for which, row in zip(("base", "policy"), page.tables["suffix"][1:], strict=True):
        expected = [*gain[which].values(), gain["n"]]
        assert numbers(row[1:]) == pytest.approx(expected, abs=5e-5)


def test_markdown_has_the_same_cells(page: Page) -> None:
    text = to_markdown(make_result())
    for kind in ("style", "likelihood", "suffix"):
        for row in page.tables[kind][1:]:
            assert f"| {' | '.join(row[1:])} |" in text


def test_provenance_is_shown_and_flattened(page: Page) -> None:
    shown = {label.split()[-1]: value for label, value in page.tables["provenance"]}
    assert shown == {"model": "tiny", "kl_beta": "0.1", "seed": "—", "versions.torch": "2.13.0"}


def test_the_copied_run_is_marked_in_the_samples(html: str) -> None:
    marked = re.findall(r"<mark[^>]*>([^<]*)</mark>", html)
    assert marked == ["天亮了。", "“好剑法！"]


def test_small_samples_are_grey_and_say_so(result: dict[str, Any], html: str, page: Page) -> None:
    assert page.small == []
    assert "小样本" not in html
    result["small_sample"] = True
    result["num_characters"]["policy"] = 1234
    small = to_html(result)
    assert len(Page(small).small) == 4 * 6  # every measure of style, but not the counts
    assert "小样本 small sample" in small
    assert "1,234" in text_of(result)
    assert "too small a sample" in text_of(result, "en")


def test_missing_general_text_is_said_plainly(result: dict[str, Any]) -> None:
    result["general"] = result["drift_kl"] = None
    del result["num_tokens"]["general"]
    html, text = to_html(result), to_markdown(result)
    for found in (html, text):
        assert "普通文本：未提供" in found
        assert "General text: not given" in found
    assert [row[1:] for row in Page(html).tables["likelihood"][3:]] == [["—"] * 4] * 2
    assert "不知道它忘了什么" in text_of(result)


def test_missing_other_author_is_said_plainly(result: dict[str, Any]) -> None:
    for value in result.values():
        if isinstance(value, dict):
            value.pop("other_author", None)
    html = to_html(result)
    assert "未提供：另一作者。" in html
    assert Page(html).tables["style"][3][1:] == ["—"] * 7


def test_likelihood_alone_makes_a_report(result: dict[str, Any], tmp_path: Path) -> None:
    write_report({"author": result["author"]}, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("未提供 <span") == 3  # plots, samples, provenance
    assert "<svg" not in html


# Verdict


def test_verdict_better(result: dict[str, Any]) -> None:
    found = judge(result)
    assert found.direction == "closer"
    # JSD (.05 - .03) / (.05 - .01); mean overlap (.65 - .55) / (.7 - .55)
    assert "虚词习惯在 0.50" in text_of(result)
    assert "（字串重合）在 0.67" in text_of(result)
    assert "降到" in text_of(result)
    assert "(10.0% less)" in text_of(result, "en")
    assert "相当于在作者文字上所得的 10%" in text_of(result)
    assert "最长一段是 5 个字" in text_of(result)


def test_verdict_worse_is_called_worse(result: dict[str, Any]) -> None:
    worsen(result)
    assert judge(result).direction == "farther"
    # JSD (.03 - .05) / (.03 - .01) and overlap (.55 - .65) / (.7 - .65)
    assert "虚词习惯在 −1.00（比训练前更远）" in text_of(result)
    assert "（字串重合）在 −1 以下（比训练前更远）" in text_of(result)
    assert "升到" in text_of(result)
    assert "worse than the base" in text_of(result, "en")
    assert "在普通文字上，每字从" in text_of(result)
    assert "代价" not in text_of(result)  # nothing was gained that had a price
    assert "更爱重复" in text_of(result)


def test_base_against_itself_changed_nothing(result: dict[str, Any]) -> None:
    equalise(result)
    assert judge(result).direction == "unchanged"
    assert "虚词习惯在 0（没有变化）" in text_of(result)
    assert "没有变化（5.152 比特）" in text_of(result)
    assert "没有变差" in text_of(result)
    assert "漂移 KL 每词元 0.0000 奈特" in text_of(result)
    result["function_word_jsd"]["policy"] -= 1e-6  # less than what is shown
    assert judge(result).direction == "unchanged"
    assert '<div class="where">0.00</div>' in to_html(result)


def test_verdict_mixed(result: dict[str, Any]) -> None:
    result["function_word_jsd"]["policy"] = 0.06
    assert judge(result).direction == "mixed"
    assert "虚词习惯在 −0.25（比训练前更远）" in text_of(result)
    result["small_sample"] = True  # then the noisy measures have no say
    assert judge(result).direction == "closer"


def test_no_share_without_a_way_to_go(result: dict[str, Any]) -> None:
    for base in (0.01, 0.005):  # as close as held-out text, and closer
        result["function_word_jsd"]["base"] = base
        assert positions(result)["function_word_jsd"] is None
        assert "虚词习惯上，训练前的模型已经不比" in text_of(result)
    del result["ngram_overlap"]["held_out_author"]
    assert positions(result)["ngram_overlap"] is None
    assert "（字串重合）" not in text_of(result)
    assert to_html(result).count('class="scale"') == 0


def test_positions_of_all_rows(result: dict[str, Any]) -> None:
    places = positions(result)["function_word_jsd"]
    assert places == pytest.approx(by_row(0.0, 0.5, 0.25, 1.0))


def test_above_one_is_explained(result: dict[str, Any]) -> None:
    result["ngram_overlap"]["policy"] = {"1": 0.95, "2": 0.55}
    assert "超过 1" in text_of(result)


def test_longer_copies_than_the_author_are_pointed_out(result: dict[str, Any]) -> None:
    assert "抄得更长" not in text_of(result)
    result["longest_copy"]["policy"] = {"length": 60, "text": "甲" * 60}
    assert "它抄得更长" in text_of(result)
    assert "甲" * 39 + "…”" in text_of(result)


def test_improved_general_text_is_no_price(result: dict[str, Any]) -> None:
    result["general"]["policy"] = likelihood(3.9)
    assert "没有变差" in text_of(result)
    assert "代价" not in text_of(result)
    assert "NLL −0.1000" in text_of(result)


@pytest.mark.parametrize(
    ("gain", "words"),
    [(0.25, "用上了后文"), (0.0, "看不出用了后文"), (-0.2, "没有用上后文"), (None, "填空未测")],
)
def test_suffix_verdict(result: dict[str, Any], gain: float | None, words: str) -> None:
    result["suffix_gain"]["policy"]["suffix_gain"] = gain
    assert suffix_verdict(result).zh.startswith(words)


# Plots


def test_plots_are_there_and_their_text_is_text(html: str) -> None:
    figures = re.findall(r'<figure id="plot-([\w-]+)"', html)
    assert figures == ["words", "overlap", "train-loss", "train-kl", "train-eval_jsd"]
    words = re.search(r'<figure id="plot-words".*?</figure>', html, re.DOTALL)
    assert words is not None
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", words[0])
    expected = ["的", "了", "不", "罢了"]  # by the author's rate
    assert [label for label in labels if label in expected] == expected
    assert "Noto Sans CJK SC" in words[0]


def test_function_words_are_the_authors_most_frequent() -> None:
    rates = {"author": {f"{c}": float(i) for i, c in enumerate("甲乙丙丁")}}
    plot = style_plots.function_word_plot({"function_word_rates": rates}, count=2)
    assert plot is not None
    svg = plot.svg
    assert ">丁</text>" in svg
    assert ">丙</text>" in svg
    assert ">乙</text>" not in svg


def test_training_log_is_read_up_to_the_broken_line(tmp_path: Path) -> None:
    rows = plots.read_training_log(write_log(tmp_path / "log.jsonl"))
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 50, 50, 50]
    assert plots.read_training_log(tmp_path / "absent") == []
    assert plots.read_training_log(None) == []


def test_general_curve_only_where_there_was_general_text() -> None:
    row = {"step": 1, "kl": 0.1, "general_kl": 0.0, "num_general": 0.0}
    (without,) = plots.training_plots([row, row | {"step": 2}])
    (with_general,) = plots.training_plots([row | {"num_general": 5.0}])
    assert len(without.legend) == 1
    assert len(with_general.legend) == 2


def test_matplotlib_is_left_as_it_was(result: dict[str, Any]) -> None:
    import matplotlib
    from matplotlib._pylab_helpers import Gcf

    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph is a warning
        first = to_html(result)
    assert dict(matplotlib.rcParams) == before
    assert not Gcf.figs
    assert to_html(result) == first


# Formats


@given(st.floats(-1e9, 1e9), st.integers(0, 6))
def test_fixed_is_the_number_to_half_a_unit(value: float, digits: int) -> None:
    shown = float(tables.fixed(value, digits).replace(",", "").replace("−", "-"))
    assert abs(shown - value) <= 0.5000001 * 10**-digits + 1e-6 * abs(value)
    assert (shown == 0) == (value == 0)


def test_formats_of_edges() -> None:
    assert tables.fixed(0.00001, 4) == "1.0e−05"
    assert tables.fixed(None, 4) == tables.fixed(float("inf"), 4) == "—"
    assert tables.percent(0.0) == "0.0%"
    assert tables.percent(0.0004) == "<0.1%"
    assert tables.percent(0.0004, 2) == "0.04%"
    assert tables.integer(1234567.0) == "1,234,567"
    assert tables.integer(None) == "—"


@given(st.text(max_size=30))
def test_any_value_stays_in_its_markdown_cell(value: str) -> None:
    row = f"| {report._md(value)} |"
    assert "\n" not in row
    assert "<" not in row
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 2


@given(st.text(alphabet="甲乙丙", max_size=30), st.text(alphabet="甲乙丙", max_size=6))
def test_marking_keeps_the_text(text: str, run: str) -> None:
    pieces = list(marked.by_text(text, run))
    assert "".join(piece.text for piece in pieces) == text
    assert any(piece.copied for piece in pieces) == (len(run) >= 4 and run in text)


@pytest.mark.slow  # the suite imports torch
def test_it_takes_what_the_suite_makes(tmp_path: Path) -> None:
    from stylellm.evaluation.settings import Settings
    from stylellm.evaluation.texts import ROWS, Texts
    from stylellm.evaluation.written import style_table

    assert tuple(tables.ROW_STYLES) == ROWS
    author = "那人笑道：“你是何人？”便将刀一举，道：“看刀！”" * 20
    window = {"text": author[:200], "num_tokens": 99, "work": "w", "chapter": "c",
              "ends_document": False}  # fmt: skip
    samples = [{"prompt": "夜", "base": "今天天气很好，我们去公园。" * 9, "policy": author[7:140]}]
    texts = Texts(author, [window], other_test=[window | {"text": "却说一日，" * 40}])
    result = style_table(samples, texts, Settings())
    result |= {"samples": samples, "author": make_result()["author"]}
    html = write_report(result, tmp_path).read_text(encoding="utf-8")
    cells = Page(html).tables["style"]
    assert [row[-1] for row in cells[1:]] == [f"{result['num_characters'][n]:,}" for n in ROWS]
    assert float(cells[1][1]) == pytest.approx(result["function_word_jsd"]["base"], abs=5e-5)
    assert "小样本" in html


def test_short_runs_are_no_copies(result: dict[str, Any]) -> None:
    """One character more than the author's own nine is no reason to look anything up."""
    result["longest_copy"]["held_out_author"] = {"length": 9, "text": "甲" * 9}
    result["longest_copy"]["policy"] = {"length": 10, "text": "甲" * 10}
    assert "抄得更长" not in text_of(result)
    assert "多是常用语" in text_of(result)
