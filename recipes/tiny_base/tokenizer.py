"""A byte-level BPE tokenizer of 8,192 entries with Qwen2.5's control tokens and splitting rule."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 8192
CONTROL = (
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
)
# Qwen2's splitting rule (tokenizer.json of the Qwen2 models): contractions, words, single digits,
# punctuation, line ends.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MAX_TOKEN_CHARACTERS = 4
"""Chinese runs have no spaces: without a bound the vocabulary would learn whole phrases of one book."""


def train(texts: Iterable[str], folder: Path) -> None:
    """Trains the tokenizer and saves it in the transformers layout."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=3 * MAX_TOKEN_CHARACTERS,
        show_progress=True,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # The control tokens come after the words, as in Qwen2.5.
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(CONTROL[1:]),
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(str(folder))
