"""Sequences token by token, labels that decode to what was hidden, and where the KL is taken."""

from __future__ import annotations

import unicodedata
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masking_texts import texts

from stylellm.errors import ModelError, StyleLLMError
from stylellm.masking.collate import encoder
from stylellm.masking.formats import (
    IGNORE,
    Sentinels,
    build_example,
    format_example,
)
from stylellm.masking.plan import MaskPlan, MaskSettings

X = IGNORE
PRE, SUF, MID, PAD, EOS, MASK = range(-6, 0)
SENTINELS = Sentinels(PRE, SUF, MID, PAD, EOS, MASK)

TEXT = "剑光一闪人已倒地"
ONE = MaskPlan("span", ((2, 4),))
TWO = MaskPlan("token", ((1, 2), (4, 6)))


def ids(text):
    """The simplest tokenizer: one id a character."""
    return [ord(char) for char in text]


def made(plan, text=TEXT, **options):
    return format_example(text, plan, ids, SENTINELS, **options)


def with_weight(example, weight):
    return [i for i, w in enumerate(example.label_weight) if w == weight]


def kl_positions(example):
    return [i for i, on in enumerate(example.kl_mask) if on]


# Layouts, token by token.


def test_plain_text():
    example = made(MaskPlan("none"))
    assert example.input_ids == ids(TEXT)
    assert example.labels == [*ids(TEXT)[1:], X]
    assert example.label_weight == [1.0] * 7 + [0.0]
    assert example.strategy == "none"
    assert example.hidden == []


def test_plain_text_that_ends_a_document():
    example = made(MaskPlan("none"), ends_document=True)
    assert example.input_ids == [*ids(TEXT), EOS]
    assert example.labels == [*ids(TEXT)[1:], EOS, X]


def test_one_gap_prefix_first():
    example = made(ONE, ends_document=True)
    assert example.input_ids == [
        *ids("剑光"), SUF, *ids("人已倒地"), EOS, MID, *ids("一闪"), EOS
    ]  # fmt: skip
    assert example.labels == [
        *ids("光"), X, *ids("人已倒地"), EOS, X, *ids("一闪"), EOS, X
    ]  # fmt: skip
    assert example.hidden == ["一闪"]
    assert example.strategy == "span"
    assert example.text == TEXT


def test_one_gap_native_order():
    example = made(ONE, order="native")
    assert example.input_ids == [PRE, *ids("剑光"), SUF, *ids("人已倒地"), MID, *ids("一闪"), EOS]
    assert example.labels == [
        *ids("剑光"), X, *ids("人已倒地"), X, *ids("一闪"), EOS, X
    ]  # fmt: skip


def test_several_gaps():
    example = made(TWO, ends_document=True)
    assert example.input_ids == [
        *ids("剑"), PAD, *ids("一闪"), PAD, *ids("倒地"), EOS,
        MID, *ids("光"), PAD, *ids("人已"), PAD,
    ]  # fmt: skip
    assert example.labels == [
        X, *ids("一闪"), X, *ids("倒地"), EOS, X, *ids("光"), PAD, *ids("人已"), PAD, X
    ]  # fmt: skip
    assert example.hidden == ["光", "人已"]


def test_several_gaps_with_a_gap_at_the_very_start_and_end():
    example = made(MaskPlan("token", ((0, 1), (7, 8))))
    assert example.input_ids == [
        PAD, *ids("光一闪人已倒"), PAD, MID, *ids("剑"), PAD, *ids("地"), PAD
    ]  # fmt: skip
    assert kl_positions(example) == []


def test_a_single_token_gap_takes_the_several_gap_form():
    example = made(MaskPlan("token", ((2, 3),)))
    assert example.input_ids == [*ids("剑光"), PAD, *ids("闪人已倒地"), MID, *ids("一"), PAD]


def test_in_place():
    example = made(TWO, format="in_place", ends_document=True)
    assert example.input_ids == [*ids("剑"), MASK, *ids("一闪"), MASK, MASK, *ids("倒地"), EOS]
    # Position t predicts the token at t + 1: the originals of the mask tokens, nothing else.
    assert example.labels == [*ids("光"), X, X, *ids("人已"), X, X, X, X]


def test_in_place_spends_one_mask_token_a_token_of_the_hidden_text():
    def three_each(text):
        return [i for char in text for i in (ord(char), ord(char) + 1, ord(char) + 2)]

    example = format_example(TEXT, ONE, three_each, SENTINELS, format="in_place")
    assert example.input_ids.count(MASK) == 6
    assert [label for label in example.labels if label != X] == three_each("一闪")


@pytest.mark.parametrize("format", ["infill", "in_place"])
def test_a_plan_without_spans_gives_plain_text(format):
    assert made(MaskPlan("token"), format=format).input_ids == ids(TEXT)


# The weight of the context.


def test_context_weight_zero_leaves_the_middle_and_its_closer():
    for order in ("prefix_first", "native"):
        example = made(ONE, order=order, ends_document=True, context_loss_weight=0.0)
        scored = [label for label in example.labels if label != X]
        assert scored == [*ids("一闪"), EOS]
        assert example.labels[-4:] == [*ids("一闪"), EOS, X]
    example = made(TWO, ends_document=True, context_loss_weight=0.0)
    assert [label for label in example.labels if label != X] == [*ids("光"), PAD, *ids("人已"), PAD]


def test_context_weight_weighs_the_context_only():
    example = made(ONE, ends_document=True, context_loss_weight=0.25)
    assert [example.labels[t] for t in with_weight(example, 1.0)] == [*ids("一闪"), EOS]
    assert [example.labels[t] for t in with_weight(example, 0.25)] == [*ids("光人已倒地"), EOS]
    assert {example.labels[t] for t in with_weight(example, 0.0)} == {X}


def test_context_weight_does_not_touch_plain_windows():
    assert made(MaskPlan("none"), context_loss_weight=0.0) == made(MaskPlan("none"))


# Where the KL is taken.


def test_kl_positions_of_each_form():
    assert kl_positions(made(ONE)) == [0, 1]  # exactly the prefix
    assert kl_positions(made(ONE, order="native")) == []
    assert kl_positions(made(TWO)) == [0]
    assert kl_positions(made(TWO, format="in_place")) == [0]
    assert kl_positions(made(MaskPlan("none"))) == list(range(7))  # all but the last
    assert kl_positions(made(MaskPlan("none"), ends_document=True)) == list(range(8))


@pytest.mark.parametrize("plan", [ONE, TWO, MaskPlan("none")])
@pytest.mark.parametrize("order", ["prefix_first", "native"])
@pytest.mark.parametrize("format", ["infill", "in_place"])
def test_kl_positions_all_are_all_but_the_last(plan, order, format):
    example = made(plan, order=order, format=format, kl_positions="all")
    assert kl_positions(example) == list(range(len(example.input_ids) - 1))


# The control tokens of a tokenizer.


def tokenizer_with(tokens, eos=0, mask=None):
    return SimpleNamespace(
        get_vocab=lambda: {t: i for i, t in enumerate(tokens)}, eos_token_id=eos, mask_token_id=mask
    )


def test_sentinels_are_looked_up_by_name(tiny_tokenizer):
    found = Sentinels.from_tokenizer(tiny_tokenizer)
    names = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|endoftext|>"]
    wanted = tiny_tokenizer.convert_tokens_to_ids(names)
    assert [found.prefix, found.suffix, found.middle, found.pad, found.eos] == wanted
    assert found.mask == found.pad  # no mask token of its own


def test_a_mask_token_of_the_tokenizer_comes_first():
    found = Sentinels.from_tokenizer(tokenizer_with(["<|fim_pad|>"], mask=7), format="in_place")
    assert found.mask == 7


@pytest.mark.parametrize(
    ("tokenizer", "format", "words"),
    [
        (
            tokenizer_with(["<|fim_prefix|>", "<|fim_pad|>"]),
            "infill",
            ["<|fim_suffix|>", "in_place"],
        ),
        (tokenizer_with(["字"]), "in_place", ["mask token"]),
        (tokenizer_with(["字"], eos=None), None, ["end-of-text"]),
    ],
)
def test_a_tokenizer_without_the_needed_tokens_is_refused(tokenizer, format, words):
    with pytest.raises(ModelError) as raised:
        Sentinels.from_tokenizer(tokenizer, format=format)
    assert all(word in str(raised.value) for word in words)


def test_a_plain_tokenizer_will_do_where_nothing_is_masked():
    assert Sentinels.from_tokenizer(tokenizer_with(["字"], eos=3), format=None).eos == 3


# Whole examples on random text with a byte-level tokenizer.

FORMS = st.tuples(
    st.sampled_from(["infill", "in_place"]), st.sampled_from(["prefix_first", "native"])
)
RATIOS = {
    "span": MaskSettings(1, 0, 0),
    "token": MaskSettings(0, 1, 0),
    "none": MaskSettings(0, 0, 1),
}


def answers(example, s, format):
    """Token ids of each hidden piece, read from the labels alone."""
    if format == "in_place":
        runs, run = [], []
        for t, label in enumerate(example.labels):
            if label == X:
                continue
            if run and example.labels[t - 1] == X:
                runs.append(run)
                run = []
            run.append(label)
        return [*runs, run] if run else runs
    tail = example.labels[example.input_ids.index(s.middle) : -1]
    closer = s.pad if example.strategy == "token" else s.eos
    runs, run = [], []
    for label in tail:
        if label == closer:
            runs.append(run)
            run = []
        else:
            run.append(label)
    assert run == []
    return runs


def check_example(example, tokenizer, s, *, window, format, ends_document):
    # A tokenizer that normalises (Qwen's does NFC) gives back the normalised text.
    hidden = [unicodedata.normalize("NFC", piece) for piece in example.hidden]
    found = answers(example, s, format) if hidden else []
    assert [tokenizer.decode(run) for run in found] == hidden
    whole = example.text == window
    assert whole or window.startswith(example.text) or window.endswith(example.text)
    ends = ends_document and (whole or window.endswith(example.text))
    one_gap = format == "infill" and example.strategy == "span"
    assert example.input_ids.count(s.eos) == int(ends) + int(one_gap)
    if format == "infill":
        pairs = zip(example.labels, example.input_ids[1:], strict=False)
        assert all(label in (X, following) for label, following in pairs)
    assert example.labels[-1] == X
    clean = example.input_ids[: sum(example.kl_mask) + 1]
    assert not set(clean[:-1]) & {s.prefix, s.suffix, s.middle, s.pad, s.mask}
    lengths = {len(x) for x in (example.labels, example.label_weight, example.kl_mask)}
    assert lengths == {len(example.input_ids)}
    if format == "in_place" and not hidden:
        assert example.input_ids.count(s.mask) == 0


def check_window(tokenizer, s, window, strategy, form, seed, ends_document):
    encode = encoder(tokenizer)
    tight = max(len(encode(window)) + int(ends_document), 24)
    example = build_example(
        window,
        encode,
        s,
        RATIOS[strategy],
        seed=seed,
        epoch=0,
        index=0,
        max_length=tight,
        format=form[0],
        order=form[1],
        ends_document=ends_document,
    )
    assert len(example.input_ids) <= tight
    assert example.strategy in (strategy, "none")
    check_example(example, tokenizer, s, window=window, format=form[0], ends_document=ends_document)


@settings(max_examples=200)
@given(texts(min_size=1), st.sampled_from(list(RATIOS)), FORMS, st.integers(0, 99), st.booleans())
def test_labels_decode_to_the_hidden_text(tiny_tokenizer, text, strategy, form, seed, ends):
    s = Sentinels.from_tokenizer(tiny_tokenizer)
    check_window(tiny_tokenizer, s, text, strategy, form, seed, ends)


SPELLED_OUT = "他说<|fim_middle|>与<|fim_pad|>，<<|endoftext|>便走了<|不再回来。"


def test_control_tokens_spelled_out_in_a_book_stay_text(tiny_tokenizer):
    s = Sentinels.from_tokenizer(tiny_tokenizer)
    found = encoder(tiny_tokenizer)(SPELLED_OUT)
    assert tiny_tokenizer.decode(found) == SPELLED_OUT
    assert not {s.prefix, s.suffix, s.middle, s.pad, s.eos} & set(found)
    for strategy in RATIOS:
        for seed in range(10):
            check_window(tiny_tokenizer, s, SPELLED_OUT, strategy, ("infill", "native"), seed, True)


@pytest.fixture(scope="module")
def qwen_tokenizer(repo_root):
    """Qwen2.5's own vocabulary with its control tokens at their own ids, if it is at hand."""
    import base64

    from tokenizers import AddedToken
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    file = repo_root.parent / "shared" / "tokenizer" / "qwen.tiktoken"
    if not file.is_file():
        pytest.skip(f"Qwen's vocabulary not found at {file}")
    ranks = {}
    for line in file.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)

    letters = bytes_to_unicode()

    def spelled(token):
        return "".join(letters[byte] for byte in token)

    def merge_of(token):
        """The two tokens that the last merge of ``token`` joins."""
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            pairs = [parts[i] + parts[i + 1] for i in range(len(parts) - 1)]
            best = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)))
            parts[best : best + 2] = [pairs[best]]
        return spelled(parts[0]), spelled(parts[1])

    merges = [merge_of(token) for token in ranks if len(token) > 1]
    vocabulary = {spelled(token): rank for token, rank in ranks.items()}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    between = ["im_start", "im_end", *(f"unused_{i}" for i in range(13))]
    names = [*between, "fim_prefix", "fim_middle", "fim_suffix", "fim_pad"]
    tokenizer.add_tokens([AddedToken(f"<|{name}|>", normalized=False) for name in names])
    return tokenizer


@pytest.mark.slow
def test_labels_decode_to_the_hidden_text_with_qwens_own_vocabulary(qwen_tokenizer, story):
    s = Sentinels.from_tokenizer(qwen_tokenizer)
    # The ids of the Qwen2.5 tokenizer.
    assert [s.eos, s.prefix, s.middle, s.suffix, s.pad] == [151643, 151659, 151660, 151661, 151662]
    assert encoder(qwen_tokenizer)("你好") == [108386]

    @settings(max_examples=200)
    @given(
        texts(min_size=1), st.sampled_from(list(RATIOS)), FORMS, st.integers(0, 99), st.booleans()
    )
    def check(text, strategy, form, seed, ends):
        check_window(qwen_tokenizer, s, text, strategy, form, seed, ends)

    check()
    for seed in range(20):
        for strategy in RATIOS:
            check_window(qwen_tokenizer, s, story, strategy, ("infill", "prefix_first"), seed, True)


def test_a_window_in_each_form_hides_something(tiny_tokenizer, story):
    """The property test above proves nothing if windows came out unmasked."""
    s = Sentinels.from_tokenizer(tiny_tokenizer)
    for strategy in ("span", "token"):
        for format in ("infill", "in_place"):
            example = build_example(
                story,
                encoder(tiny_tokenizer),
                s,
                RATIOS[strategy],
                seed=0,
                epoch=0,
                index=0,
                max_length=512,
                format=format,
            )
            assert example.strategy == strategy
            assert example.hidden
            check_example(
                example, tiny_tokenizer, s, window=story, format=format, ends_document=False
            )


# Fitting into max_length.


def built(text, ratios, *, max_length, ends_document=False, seed=0, epoch=0, index=0, **options):
    return build_example(
        text,
        ids,
        SENTINELS,
        ratios,
        seed=seed,
        epoch=epoch,
        index=index,
        max_length=max_length,
        ends_document=ends_document,
        **options,
    )


def test_a_window_that_fits_is_not_cropped(story):
    for epoch in range(20):
        for ratios in RATIOS.values():
            assert built(story, ratios, max_length=1000, epoch=epoch).text == story


def test_a_tight_window_is_cropped_at_its_end_or_its_start(story):
    text = story[:200]
    cropped = [
        built(text, RATIOS["token"], max_length=201, epoch=e, ends_document=True) for e in range(40)
    ]
    assert all(len(example.input_ids) <= 201 for example in cropped)
    assert all(len(example.input_ids) > 180 for example in cropped)  # no more than needed
    at_start = [e for e in cropped if text.endswith(e.text)]
    at_end = [e for e in cropped if text.startswith(e.text)]
    assert len(at_start) + len(at_end) == 40
    assert min(len(at_start), len(at_end)) >= 8
    assert all(EOS in example.input_ids for example in at_start)
    assert not any(EOS in example.input_ids for example in at_end)


def test_a_cropped_window_keeps_its_share_of_hidden_text(story):
    text = story[:200]
    shares = []
    for epoch in range(30):
        example = built(text, RATIOS["token"], max_length=200, epoch=epoch)
        shares.append(sum(map(len, example.hidden)) / len(example.text))
    assert sum(shares) / 30 == pytest.approx(0.15, abs=0.015)


def test_a_max_length_that_nothing_fits_is_refused():
    with pytest.raises(StyleLLMError, match="max_length 0"):
        built("字" * 40, RATIOS["none"], max_length=0)


def test_an_example_is_a_pure_function_of_seed_epoch_and_index(story):
    def of(**changed):
        return built(story, MaskSettings(), max_length=400, **changed)

    for seed, epoch, index in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (5, 6, 7)):
        first = of(seed=seed, epoch=epoch, index=index)
        assert of(seed=seed, epoch=epoch, index=index) == first
    for name in ("seed", "epoch", "index"):
        assert len({str(of(**{name: i})) for i in range(6)}) >= 5


def test_the_span_strategy_takes_one_gap_in_infill_and_several_in_place(story):
    infill = built(story, RATIOS["span"], max_length=600)
    in_place = built(story, RATIOS["span"], max_length=600, format="in_place")
    assert len(infill.hidden) == 1
    assert len(in_place.hidden) > 5
