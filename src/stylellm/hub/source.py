"""What the hubs have in common: a list of files with sizes and hashes, and their bytes from any offset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from stylellm.errors import ModelError


@dataclass(frozen=True)
class RemoteFile:
    """One file of a model.

    Attributes:
        path: inside the repository, with forward slashes.
        size: in bytes.
        sha256: of the content, for what the hub keeps in LFS (all weights), else "".
        git_sha1: the git blob's id, for small files, else "".
    """

    path: str
    size: int
    sha256: str = ""
    git_sha1: str = ""

    @property
    def key(self) -> str:
        """The content's name: its hash; "" where the hub tells none."""
        return self.sha256 or self.git_sha1


@dataclass(frozen=True)
class Listing:
    """A model at one commit.

    Attributes:
        model: the id as the hub writes it.
        revision: what was asked for, None for the hub's default branch.
        commit: what that stands for now (on ModelScope the branch or tag itself).
        files: those that are needed.
    """

    model: str
    revision: str | None
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class Unreachable(ModelError):
    """The hub did not answer; another source may."""


class Cut(Exception):
    """A transfer that ended early and can go on.

    Args:
        reason: what the library said.
        restart: what lies on the disk is of no use for going on.
    """

    def __init__(self, reason: str, *, restart: bool = False) -> None:
        super().__init__(reason)
        self.restart = restart


class Source(Protocol):
    """A hub at one address."""

    name: str
    endpoint: str

    def listing(self, model: str, revision: str | None) -> Listing:
        """All files of ``model``; raises ModelError, or Unreachable where the hub does not answer."""

    def open(
        self, listing: Listing, file: RemoteFile, offset: int
    ) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """The bytes of ``file``: (where they begin, pieces); raises Cut, ModelError."""


def short_host(endpoint: str) -> str:
    """``https://hf-mirror.com`` -> ``hf-mirror.com``."""
    return endpoint.split("://", 1)[-1].rstrip("/")


def range_start(status: int, content_range: str | None) -> int:
    """Where the body of a reply begins: 0, or what its Content-Range says (RFC 9110, 14.4).

    Raises:
        Cut: a partial reply that does not say where it begins.
    """
    if status != 206:
        return 0
    words = (content_range or "").removeprefix("bytes ").split("-", 1)
    if not words[0].strip().isdigit():
        raise Cut("a partial reply without Content-Range", restart=True)
    return int(words[0])


def reason_of(error: BaseException) -> str:
    """A library's reason in one short line."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip()[:160].rstrip(".") if lines else ""
    return text or type(error).__name__
