"""Model ids: what a user may type, and which ones come near a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from stylellm.errors import ModelError

_URL = re.compile(r"https?://[^/]+/(?:models/)?([^/?#]+/[^/?#]+).*")
_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*|[A-Za-z0-9_][\w.-]*")

_SIZES = {
    "Qwen/Qwen2.5-{}": ("0.5B", "1.5B", "3B", "7B", "14B", "32B", "72B"),
    "Qwen/Qwen2.5-{}-Instruct": ("0.5B", "1.5B", "3B", "7B", "14B", "32B", "72B"),
    "Qwen/Qwen2-{}": ("0.5B", "1.5B", "7B", "72B"),
    "Qwen/Qwen3-{}-Base": ("0.6B", "1.7B", "4B", "8B", "14B"),
    "Qwen/Qwen3-{}": ("0.6B", "1.7B", "4B", "8B", "14B", "32B"),
    "01-ai/Yi-1.5-{}": ("6B", "9B", "34B"),
}
KNOWN = tuple(pattern.format(size) for pattern, sizes in _SIZES.items() for size in sizes)
"""Offered where the hub's own search does not answer."""


def model_id(text: str) -> str:
    """The id in what was typed: an id, or a hub page's address.

    Raises:
        ModelError: a local folder, the embedded model, or no id at all.
    """
    text = text.strip()
    if text == "stylellm-tiny":
        raise ModelError(
            "stylellm-tiny is part of StyleLLM", "", "Nothing to download: it is there."
        )
    url = _URL.fullmatch(text)
    name = (url.group(1) if url else text).removesuffix(".git")
    if text and not url and Path(text).expanduser().is_dir():
        raise ModelError(
            f"{text} is a folder on this machine",
            "a hub id such as Qwen/Qwen2.5-7B",
            "To use the folder set model_name_or_path to it.",
        )
    if not _ID.fullmatch(name) or ".." in name or "--" in name:
        raise ModelError(
            f"{text!r} is no model id", "owner/name, for example Qwen/Qwen2.5-7B", _near_hint(text)
        )
    return name


def searches(model: str) -> list[str]:
    """What to type into a hub's search for a name that it does not know: the name, and its stem."""
    tail = model.rsplit("/", 1)[-1]
    return list(dict.fromkeys([tail, re.split(r"[-_]", tail)[0]]))


def nearest(wanted: str, offered: Iterable[str], *, count: int = 3) -> list[str]:
    """The ids that are spelled most like ``wanted``, best first; of KNOWN if none are offered."""
    names = (set(offered) or set(KNOWN)) - {wanted}
    scores = {name: _likeness(wanted, name) for name in names}
    good = [name for name in scores if scores[name] >= 0.7]
    return sorted(good, key=lambda name: (-scores[name], len(name), name))[:count]


def _likeness(wanted: str, name: str) -> float:
    """1 for the same letters; an owner left out or wrong costs little."""
    whole = _ratio(wanted, name)
    tail = _ratio(wanted.rsplit("/", 1)[-1], name.rsplit("/", 1)[-1])
    return max(whole, 0.97 * tail)


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, _plain(one), _plain(other)).ratio()


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def not_found(model: str, host: str, offered: Iterable[str]) -> ModelError:
    """The error for a name that the hub does not know, with the nearest ones."""
    near = nearest(model, offered)
    return ModelError(
        f"{host} has no model {model}, or it is private",
        f"an id that exists{': ' + ', '.join(near) if near else ', such as Qwen/Qwen2.5-7B'}",
        "For a private model set HF_TOKEN (MODELSCOPE_API_TOKEN on ModelScope).",
    )


def _near_hint(text: str) -> str:
    near = nearest(text, ())
    return f"Did you mean {', '.join(near)}?" if near else ""
