"""A tiny random Qwen2 model and its tokenizer, and a short original text to run them on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CONTROL_TOKENS = (
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
)

# Written for these tests; it only has to give a tokenizer something to merge.
STORY = """\
风从山口吹来，店里的灯忽明忽暗。老人放下酒杯，却不说话，只把剑横在膝上。
少年道：“你既然来了，又何必走？”老人笑道：“我来，是因为剑要来；我走，也是因为剑要走。”
门外的雪已经下了三天，路上没有人，也没有马。可是他知道，今夜一定有人要来，而且不止一个。
剑光一闪，灯便灭了。黑暗之中只听得一声轻响，像是雪落在雪上，再也没有别的声音。
“好剑！”少年忽然叹了一口气，“可惜用剑的人，心里却没有剑。”老人不答，慢慢站起身来。
他们之间隔着一张桌子，桌上的酒还是热的。热酒配冷剑，本是江湖上最寻常的事。
天亮的时候雪停了。掌柜的推开门，只看见桌上放着两只空杯，一只杯底压着一片落叶。
"""


def save_tiny_tokenizer(folder: Path) -> None:
    """A byte-level BPE of about 600 entries in the shape of Qwen2.5's, saved for transformers."""
    from tokenizers import (
        AddedToken,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=595,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=6,
        show_progress=False,
    )
    tokenizer.train_from_iterator(STORY.splitlines() * 3, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=CONTROL_TOKENS[0],
        pad_token=CONTROL_TOKENS[0],
        clean_up_tokenization_spaces=False,
    )
    # As in Qwen2.5, the infill tokens are added tokens that do not count as special ones.
    fast.add_tokens([AddedToken(name, normalized=False) for name in CONTROL_TOKENS[1:]])
    fast.save_pretrained(str(folder))


def save_tiny_model(folder: Path, **changes: Any) -> None:
    """A random Qwen2 of 2 layers and hidden size 32 for the tokenizer in ``folder``."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    options: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        # Ten times the usual: predictions far enough from uniform for tests to tell them apart.
        "initializer_range": 0.2,
        "bos_token_id": tokenizer.eos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(Qwen2Config(**{**options, **changes}))
    model.save_pretrained(str(folder))
