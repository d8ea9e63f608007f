"""What was downloaded and where it lies, so that an id is found again without a network.

One small JSON file per model and revision under ``HF_HOME/stylellm``. It holds the sizes and hashes, so
that a copy can be verified offline too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from stylellm.files import write_text
from stylellm.hub.source import Listing, RemoteFile

DEFAULT_BRANCHES = ("main", "master")
"""Of Hugging Face and of ModelScope."""


@dataclass(frozen=True)
class Record:
    """A finished download."""

    source: str
    endpoint: str
    folder: Path
    listing: Listing


def record_folder() -> Path:
    """Where the records lie: beside the cache of huggingface_hub (HF_HOME)."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "stylellm"


def record_path(model: str, revision: str | None) -> Path:
    """The record's file; ids are compared without regard to case, as the hubs do."""
    name = quote(f"{model.lower()}@{revision or ''}", safe="@.-_").replace("%2F", "--")
    return record_folder() / f"{name}.json"


def save(record: Record) -> None:
    """Writes the record, also under its commit.

    Raises:
        OutputError: the place cannot be written.
    """
    listing = record.listing
    data = {
        "model": listing.model,
        "revision": listing.revision,
        "commit": listing.commit,
        "source": record.source,
        "endpoint": record.endpoint,
        "folder": str(record.folder),
        "files": [asdict(file) for file in listing.files],
    }
    text = json.dumps(data, ensure_ascii=False, indent=1) + "\n"
    for revision in {listing.revision, listing.commit}:
        write_text(record_path(listing.model, revision), text)


def load(model: str, revision: str | None) -> Record | None:
    """The record of a model; None where there is none, or none that can be read.

    A default branch by its name is the same as no revision, unless it was downloaded by that name.
    """
    record = _read(model, revision)
    return _read(model, None) if record is None and revision in DEFAULT_BRANCHES else record


def _read(model: str, revision: str | None) -> Record | None:
    try:
        data = json.loads(record_path(model, revision).read_text(encoding="utf-8"))
        files = tuple(RemoteFile(**file) for file in data["files"])
        listing = Listing(data["model"], revision, data["commit"], files)
        return Record(data["source"], data["endpoint"], Path(data["folder"]), listing)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find(model: str, revision: str | None = None) -> Path | None:
    """The folder of a downloaded model, if every file is there in its full size; else None.

    Hashes are not compared here: `stylellm download` does, when the files come and whenever it is run.
    """
    record = load(model, revision)
    if record is None:
        return None
    for file in record.listing.files:
        path = record.folder / file.path
        if not path.is_file() or path.stat().st_size != file.size:
            return None
    return record.folder
