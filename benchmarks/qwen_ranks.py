"""The real Qwen2.5 tokenizer out of a tiktoken file of ranks, for benchmarks at true vocabulary."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent


def ranks_file() -> Path:
    """Where the ranks lie: STYLELLM_TOKENIZER, or beside the corpus folder."""
    default = _ROOT.parent / "shared" / "tokenizer" / "qwen.tiktoken"
    corpus = os.environ.get("STYLELLM_CORPUS")
    if corpus:
        default = Path(corpus).resolve().parent / "tokenizer" / "qwen.tiktoken"
    return Path(os.environ.get("STYLELLM_TOKENIZER") or default)


def qwen_tokenizer(file: Path) -> Any:
    """A transformers tokenizer with Qwen's vocabulary, merges and infill tokens."""
    from tokenizers import AddedToken
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    ranks = {}
    for line in file.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    letters = bytes_to_unicode()

    def spelled(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = [tuple(map(spelled, _last_merge(token, ranks))) for token in ranks if len(token) > 1]
    vocabulary = {spelled(token): rank for token, rank in ranks.items()}
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    between = ["im_start", "im_end", *(f"unused_{i}" for i in range(13))]
    names = [*between, "fim_prefix", "fim_middle", "fim_suffix", "fim_pad"]
    tokenizer.add_tokens([AddedToken(f"<|{name}|>", normalized=False) for name in names])
    return tokenizer


def _last_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that the last merge of `token` joins."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [parts[i] + parts[i + 1] for i in range(len(parts) - 1)]
        best = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)))
        parts[best : best + 2] = [pairs[best]]
    return parts[0], parts[1]
