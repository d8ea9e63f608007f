"""Shapes of causal language models: the released Qwen2.5 ones, and any from its config.json.

Legend: H hidden, V rows of the embedding (padded vocabulary).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stylellm.errors import ModelError

# name of a linear layer -> (inputs, outputs) as attributes of Shape
LINEARS = {
    "q_proj": ("hidden", "query"),
    "k_proj": ("hidden", "key"),
    "v_proj": ("hidden", "key"),
    "o_proj": ("query", "hidden"),
    "gate_proj": ("hidden", "intermediate"),
    "up_proj": ("hidden", "intermediate"),
    "down_proj": ("intermediate", "hidden"),
}


@dataclass(frozen=True)
class Shape:
    """What the memory of a decoder depends on. Sizes in elements.

    Attributes:
        tied: input embedding and head are one matrix.
        qkv_bias: the query, key and value projections have a bias (Qwen2 has, Llama has not).
        qk_norm: query and key have a norm per head (Qwen3 has).
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tied: bool
    head_size: int
    qkv_bias: bool = True
    qk_norm: bool = False
    positions: int = 32768

    @property
    def query(self) -> int:
        return self.heads * self.head_size

    @property
    def key(self) -> int:
        return self.kv_heads * self.head_size

    def linear(self, name: str) -> tuple[int, int]:
        """(inputs, outputs) of one of LINEARS."""
        inputs, outputs = LINEARS[name]
        return getattr(self, inputs), getattr(self, outputs)

    @property
    def linear_per_layer(self) -> int:
        """Weights of the linear layers of one decoder layer."""
        return sum(i * o for i, o in map(self.linear, LINEARS))

    @property
    def other(self) -> int:
        """Parameters outside these: embedding, head, norms, biases."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        per_layer = 2 * self.hidden
        per_layer += (self.query + 2 * self.key) if self.qkv_bias else 0
        per_layer += 2 * self.head_size if self.qk_norm else 0
        return embeddings + self.layers * per_layer + self.hidden

    @property
    def parameters(self) -> int:
        return self.layers * self.linear_per_layer + self.other


def _qwen(
    size: str, hidden: int, layers: int, heads: int, kv: int, middle: int, *, tied: bool
) -> Shape:
    vocabulary = 151_936 if tied else 152_064
    name = f"Qwen2.5-{size}"
    return Shape(name, hidden, layers, heads, kv, middle, vocabulary, tied, hidden // heads)


QWEN25 = {
    "0.5B": _qwen("0.5B", 896, 24, 14, 2, 4864, tied=True),
    "1.5B": _qwen("1.5B", 1536, 28, 12, 2, 8960, tied=True),
    "3B": _qwen("3B", 2048, 36, 16, 2, 11008, tied=True),
    "7B": _qwen("7B", 3584, 28, 28, 4, 18944, tied=False),
    "14B": _qwen("14B", 5120, 48, 40, 8, 13824, tied=False),
    "32B": _qwen("32B", 5120, 64, 40, 8, 27648, tied=False),
    "72B": _qwen("72B", 8192, 80, 64, 8, 29568, tied=False),
}
_QWEN_NAME = re.compile(r"Qwen2\.5(?:-(?:Coder|Math))?-(\d+(?:\.\d+)?B)(?:-Instruct)?", re.I)


def known_shape(name: str) -> Shape | None:
    """The shape of a released Qwen2.5 by its id (Coder, Math and Instruct share it), else None."""
    found = _QWEN_NAME.fullmatch(name.strip().rstrip("/").rsplit("/", 1)[-1])
    return QWEN25.get(found.group(1).upper()) if found else None


def shape_of(name: str, folder: Path | None = None) -> Shape:
    """The shape of a model: from ``folder``/config.json if there is one, else a known name.

    Raises:
        ModelError: the name is unknown and there is no config.json, or it cannot be used.
    """
    if folder is not None and (folder / "config.json").is_file():
        return shape_from_file(folder / "config.json")
    shape = known_shape(name)
    if shape is None:
        raise ModelError(
            f"the shape of {name} is not known here",
            "a Qwen2.5 id (" + ", ".join(QWEN25) + ") or a folder with config.json",
            f"stylellm download --model {name} --local_dir models/it, then name that folder.",
        )
    return shape


def shape_from_file(path: Path) -> Shape:
    """The shape that a config.json of transformers says.

    Raises:
        ModelError: no JSON, a key is missing, or layers that the prediction does not know.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return shape_from_config(values, name=values.get("_name_or_path") or path.parent.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{path} gives no shape ({error!r})", "the config.json of a causal language model"
        ) from error


def shape_from_config(values: dict[str, Any], *, name: str = "") -> Shape:
    """The shape in the keys of a dense decoder with a gated MLP (Qwen2, Qwen3, Llama, Mistral).

    Raises:
        ModelError: experts, or an architecture of other layers.
        KeyError: a size is missing.
    """
    kind = values.get("model_type", "")
    if kind not in ("qwen2", "qwen3", "llama", "mistral"):
        raise ModelError(
            f"model_type {kind!r} of {name or 'the model'} is not one that is predicted",
            "qwen2, qwen3, llama or mistral",
        )
    heads, hidden = values["num_attention_heads"], values["hidden_size"]
    return Shape(
        name=name or kind,
        hidden=hidden,
        layers=values["num_hidden_layers"],
        heads=heads,
        kv_heads=values.get("num_key_value_heads") or heads,
        intermediate=values["intermediate_size"],
        vocabulary=values["vocab_size"],
        tied=bool(values.get("tie_word_embeddings", kind == "qwen2")),
        head_size=values.get("head_dim") or hidden // heads,
        qkv_bias=bool(values.get("attention_bias", kind == "qwen2")),
        qk_norm=kind == "qwen3",
        positions=values.get("max_position_embeddings", 32768),
    )
