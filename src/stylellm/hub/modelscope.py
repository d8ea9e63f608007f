"""ModelScope (魔搭), through its own client (package modelscope-hub, the extra ``modelscope``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stylellm.errors import ModelError
from stylellm.hub.names import not_found, searches
from stylellm.hub.source import (
    Cut,
    Listing,
    RemoteFile,
    Unreachable,
    range_start,
    reason_of,
    short_host,
)

BRANCH = "master"
_PIECE = 1 << 16


def installed() -> bool:
    """Whether the client is there."""
    from importlib.util import find_spec

    return find_spec("modelscope_hub") is not None


class ModelScope:
    """modelscope.cn, or the server that MODELSCOPE_ENDPOINT names.

    A token is taken from MODELSCOPE_API_TOKEN, or from the login that its client stored.

    Raises:
        ModelError: the client is not installed.
    """

    name = "modelscope"

    def __init__(self, endpoint: str | None = None) -> None:
        if not installed():
            raise ModelError(
                "--source modelscope needs the package modelscope-hub",
                "",
                "pip install modelscope-hub",
            )
        from modelscope_hub import HubApi, HubConfig

        self.config = HubConfig(endpoint=endpoint)
        self.endpoint = str(self.config.endpoint)
        self.api = HubApi(self.config)

    def folder(self, listing: Listing) -> Path:
        """Where that client keeps this model (MODELSCOPE_CACHE, else ~/.cache/modelscope)."""
        name = listing.model.replace("/", "--")
        return self.config.cache_dir / "models" / name / "snapshots" / listing.commit

    def listing(self, model: str, revision: str | None) -> Listing:
        """All files of ``model`` at ``revision``; raises ModelError, or Unreachable."""
        from modelscope_hub import HubError

        try:
            entries = self.api.list_repo_files(model, "model", revision=revision or BRANCH)
        except HubError as error:
            raise self._explained(error, model, revision) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._unreachable(error) from error
        files = tuple(
            RemoteFile(entry.path, entry.size or 0, sha256=entry.sha256 or "")
            for entry in entries
            if entry.type != "tree"
        )
        return Listing(model, revision, revision or BRANCH, files)

    @contextmanager
    def open(
        self, listing: Listing, file: RemoteFile, offset: int
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The bytes of ``file`` from ``offset`` on (see ``Source.open``)."""
        import requests
        from modelscope_hub import APIError, HubError

        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            with self.api.legacy.download_stream(
                listing.model, "model", file.path, listing.commit, headers=headers
            ) as reply:
                start = range_start(reply.status_code, reply.headers.get("Content-Range"))
                yield start, reply.iter_content(_PIECE)
        except APIError as error:
            if error.status_code == 416 or error.retryable:
                raise Cut(reason_of(error), restart=error.status_code == 416) from error
            raise self._explained(error, listing.model, listing.revision) from error
        except (HubError, requests.RequestException) as error:
            raise Cut(reason_of(error)) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"{short_host(self.endpoint)} cannot be reached ({reason_of(error)})",
            "a network connection to it",
            "Try --use-mirror or --source hf. Behind a proxy: set HTTPS_PROXY.",
        )

    def _explained(self, error: Any, model: str, revision: str | None) -> ModelError:
        """The hub's refusal in one line, with the way out."""
        from modelscope_hub import (
            APIError,
            AuthenticationError,
            NotExistError,
            PermissionDeniedError,
        )

        host = short_host(self.endpoint)
        if isinstance(error, (AuthenticationError, PermissionDeniedError)):
            return ModelError(
                f"{host} lets {model} be read by some accounts only (HTTP {error.status_code})",
                "an account with access, and its token",
                f"Ask for access at {self.endpoint}/models/{model}, then set MODELSCOPE_API_TOKEN.",
            )
        if isinstance(error, NotExistError):
            names = self._revisions(model) if revision else []
            if names and revision not in names:
                return ModelError(
                    f"{model} has no revision {revision!r}",
                    "one of " + ", ".join(names[:8]),
                    "Leave --revision out for the newest.",
                )
            return not_found(model, host, self._search(model))
        if isinstance(error, APIError) and not error.retryable:
            return ModelError(f"{host} refused {model} ({reason_of(error)})")
        return self._unreachable(error)

    def _search(self, model: str) -> list[str]:
        """Ids from the hub's search that may be meant; empty where it does not answer."""
        from modelscope_hub import HubError

        queries: list[dict[str, Any]] = [{"search": words} for words in searches(model)]
        if "/" in model:
            queries.append({"owner": model.split("/")[0]})
        found: list[str] = []
        for query in queries:
            try:
                page = self.api.list_repos("model", page_size=50, **query)
                found += [str(item.repo_id) for item in page.items]
            except (HubError, OSError, ValueError, KeyError, TypeError):
                continue
        return found

    def _revisions(self, model: str) -> list[str]:
        from modelscope_hub import HubError

        try:
            entries = self.api.list_repo_revisions(model, "model")
        except (HubError, OSError, ValueError, KeyError, TypeError):
            return []
        names = (entry.get("Revision") or entry.get("name") for entry in entries)
        return [str(name) for name in names if name]
