"""Which files of a repository a causal language model needs, and whether they can be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from stylellm.errors import ModelError
from stylellm.hub.source import RemoteFile

SMALL = (
    "config.json",
    "generation_config.json",
    "tokenizer*.json",
    "tokenizer*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece*.model",
    "*.tiktoken",
    "chat_template.*",
)
LICENCE = ("license*", "licence*", "notice*")
_PLAIN = re.compile(r"[\w.+-]+")  # no folder, no drive: what a server sends is no path to follow
_SAFETENSORS = re.compile(r"model(-\d+-of-(\d+))?\.safetensors")
_PICKLED = re.compile(r"pytorch_model(-\d+-of-(\d+))?\.bin")


def needed_files(model: str, files: Sequence[RemoteFile]) -> tuple[RemoteFile, ...]:
    """Weights in one format, tokenizer, configuration, licence; nothing from subfolders.

    Safetensors are taken where there are any, else PyTorch's own format. Duplicates in other formats
    (bin, gguf, onnx, the makers' original files) and Python code are left out.

    Raises:
        ModelError: nothing that transformers could load.
    """
    top = {file.path: file for file in files if _PLAIN.fullmatch(file.path)}
    if "config.json" not in top:
        raise ModelError(
            f"{model} holds no config.json ({_kinds(files)})",
            "a causal language model as transformers saves it",
            "For a GGUF or adapter repository take the model that it was made from.",
        )
    names = _weights(model, top, files)
    names |= {name for name in top if _matches(name, SMALL)}
    licences = {name for name in top if _matches(name, LICENCE)}
    # Where there is no licence file, the model card is the place that names the licence.
    names |= licences or {name for name in top if name == "README.md"}
    return tuple(top[name] for name in sorted(names))


def _weights(model: str, top: dict[str, RemoteFile], files: Sequence[RemoteFile]) -> set[str]:
    for pattern, single, index in (
        (_SAFETENSORS, "model.safetensors", "model.safetensors.index.json"),
        (_PICKLED, "pytorch_model.bin", "pytorch_model.bin.index.json"),
    ):
        if single in top:
            return {single}
        shards = [match for name in top if (match := pattern.fullmatch(name))]
        if not shards:
            continue
        if index not in top or any(len(shards) != int(shard.group(2)) for shard in shards):
            raise ModelError(
                f"{model} is incomplete on the hub ({len(shards)} weight files of "
                f"{shards[0].group(2)}, {index} {'present' if index in top else 'missing'})",
                "all of them",
                "Try another --source or --revision.",
            )
        return {shard.string for shard in shards} | {index}
    raise ModelError(
        f"{model} holds no weights that transformers loads ({_kinds(files)})",
        "model*.safetensors or pytorch_model*.bin",
        "Take the model that it was made from.",
    )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)


def _kinds(files: Sequence[RemoteFile]) -> str:
    kinds = sorted({file.path.rsplit(".", 1)[-1] for file in files if "." in file.path[1:]})
    return "it has " + ", ".join(kinds[:6]) if kinds else "it is empty"
