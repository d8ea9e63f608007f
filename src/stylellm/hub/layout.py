"""Where the files of a model lie: in a plain folder, or in the cache of huggingface_hub."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from stylellm.hub.source import Listing, RemoteFile


class FolderLayout:
    """All files in one folder, under their own names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def target(self, file: RemoteFile) -> Path:
        """Where the finished file lies."""
        return self.folder / file.path

    def part(self, file: RemoteFile) -> Path:
        """Where it is received; the name holds the content's, so that versions are not mixed."""
        return self.folder / f"{file.path}.{file.key[:8] or file.size}.part"

    def place(self, file: RemoteFile) -> None:
        """Gives the received file its name."""
        self.target(file).parent.mkdir(parents=True, exist_ok=True)
        self.part(file).replace(self.target(file))

    def adopt(self, file: RemoteFile) -> None:
        """Uses the same content where it lies elsewhere already (nowhere, here)."""

    def drop(self, file: RemoteFile) -> None:
        """Removes a damaged file."""
        self.target(file).unlink(missing_ok=True)

    def finish(self, listing: Listing) -> None:
        """Called when all files are there."""


class CacheLayout(FolderLayout):
    """The cache that transformers reads: blobs by hash, snapshots that link to them, refs.

    Layout: huggingface.co/docs/huggingface_hub/guides/manage-cache. Where links are not allowed
    (Windows without developer mode) the file itself lies in the snapshot, as that client does it.
    """

    def __init__(self, cache: Path, listing: Listing) -> None:
        self.root = cache / ("models--" + listing.model.replace("/", "--"))
        super().__init__(self.root / "snapshots" / listing.commit)
        self.placing = threading.Lock()

    def _blob(self, file: RemoteFile) -> Path:
        return self.root / "blobs" / file.key

    def part(self, file: RemoteFile) -> Path:
        # With the name, since two files of a model may have the same content.
        return self.root / "blobs" / f"{file.key}.{file.path}.part"

    def place(self, file: RemoteFile) -> None:
        if not file.key:  # no hash was told, so there is no name for a blob
            super().place(file)
            return
        with self.placing:
            self.part(file).replace(self._blob(file))
            self._link(file)

    def adopt(self, file: RemoteFile) -> None:
        """A blob that another commit brought is linked, not received again."""
        if file.key and self._blob(file).is_file() and not self.target(file).exists():
            self._link(file)

    def _link(self, file: RemoteFile) -> None:
        target, blob = self.target(file), self._blob(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            if _links_disabled():
                raise OSError("links are switched off")
            target.symlink_to(os.path.relpath(blob, target.parent))
        except OSError:
            blob.replace(target)

    def drop(self, file: RemoteFile) -> None:
        if self.target(file).is_symlink():
            self.target(file).resolve().unlink(missing_ok=True)
        super().drop(file)

    def finish(self, listing: Listing) -> None:
        """Notes which commit the branch or tag stands for."""
        revision = listing.revision or "main"
        if revision != listing.commit:
            ref = self.root / "refs" / revision
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(listing.commit, encoding="utf-8")


def _links_disabled() -> bool:
    from huggingface_hub import constants

    return bool(getattr(constants, "HF_HUB_DISABLE_SYMLINKS", False))
