"""File names in unknown bytes: archives and old disks hold them in GBK or Big5."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from stylellm.corpus.plausibility import plausibility

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")


def name_encoding(names: Sequence[bytes]) -> str:
    """The encoding that file names are in: UTF-8 where they are valid, else GBK or Big5."""
    joined = b"\n".join(names)
    try:
        joined.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        pass
    scores = {codec: plausibility(joined.decode(codec, "replace")) for codec in ("gbk", "big5")}
    return "big5hkscs" if scores["big5"] > scores["gbk"] + 0.1 else "gb18030"


def decode_name(raw: bytes) -> str:
    """One file name in unknown bytes, decoded."""
    return raw.decode(name_encoding([raw]), "replace")


def readable(path: str | os.PathLike[str]) -> str:
    """A path as people read it: names in GBK bytes decoded, nothing unprintable left."""
    text = os.fspath(path)
    if re.search("[\udc80-\udcff]", text):
        text = decode_name(os.fsencode(text))
    return _UNPRINTABLE.sub("?", text)
