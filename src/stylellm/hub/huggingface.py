"""Hugging Face and its mirrors, through the huggingface_hub client."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

from stylellm.errors import ModelError
from stylellm.hub.names import model_id, not_found, searches
from stylellm.hub.source import (
    Cut,
    Listing,
    RemoteFile,
    Unreachable,
    range_start,
    reason_of,
    short_host,
)

MIRROR = "https://hf-mirror.com"
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
_T = TypeVar("_T")


class HuggingFace:
    """A server that speaks the Hugging Face hub's language.

    Args:
        endpoint: its address; None for HF_ENDPOINT, or huggingface.co.
        name: "hf" or "mirror".
        use_token: send HF_TOKEN, or the login that `hf auth login` stored.
        pause: seconds before a request is tried again; doubled each time.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        name: str = "hf",
        use_token: bool = True,
        pause: float = 1.0,
    ) -> None:
        from huggingface_hub import HfApi, constants

        self.name = name
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self.pause = pause
        self.token = None if use_token else False
        self.api = HfApi(endpoint=self.endpoint, token=self.token)
        self.timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT

    def listing(self, model: str, revision: str | None) -> Listing:
        """All files of ``model`` at ``revision``; raises ModelError, or Unreachable."""
        info = self._ask(
            model,
            revision,
            lambda: self.api.model_info(
                model, revision=revision, files_metadata=True, timeout=self.timeout
            ),
        )
        files = []
        for entry in info.siblings or ():
            size = entry.lfs.size if entry.lfs else entry.size
            if size is None:
                raise Unreachable(
                    f"{short_host(self.endpoint)} tells no file sizes",
                    "a server with the whole API of the Hugging Face hub",
                    "Try another --source.",
                )
            sha256 = entry.lfs.sha256 if entry.lfs else ""
            sha1 = "" if entry.lfs else entry.blob_id or ""
            files.append(RemoteFile(entry.rfilename, size, sha256, sha1))
        if not re.fullmatch(r"[0-9a-f]{40,64}", info.sha or ""):
            raise Unreachable(f"{short_host(self.endpoint)} names no commit of {model}")
        return Listing(model_id(info.id or model), revision, str(info.sha), tuple(files))

    @contextmanager
    def open(
        self, listing: Listing, file: RemoteFile, offset: int
    ) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The bytes of ``file`` from ``offset`` on, over plain HTTP (see ``Source.open``).

        Not over Xet: it cannot go on where an earlier process was cut, and its servers are other
        hosts, which a mirror does not stand for.
        """
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        url = hf_hub_url(listing.model, file.path, revision=listing.commit, endpoint=self.endpoint)
        headers = build_hf_headers(token=self.token)
        headers["Accept-Encoding"] = "identity"  # offsets count the bytes of the file
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            with get_session().stream("GET", url, headers=headers, timeout=self.timeout) as reply:
                hf_raise_for_status(reply)
                start = range_start(reply.status_code, reply.headers.get("Content-Range"))
                yield start, reply.iter_bytes()
        except HfHubHTTPError as error:
            status = _status(error)
            if status == 416 or status in _RETRIED:
                raise Cut(reason_of(error), restart=status == 416) from error
            raise self._explained(error, listing.model, listing.revision) from error
        except _http().TransportError as error:
            raise Cut(reason_of(error)) from error

    def _ask(self, model: str, revision: str | None, question: Callable[[], _T]) -> _T:
        """Asks the API; busy servers and slow lines get three attempts."""
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        http = _http()
        for attempt in range(3):
            try:
                return question()
            except HFValidationError as error:
                raise ModelError(f"{model!r} is no model id ({reason_of(error)})") from error
            except OfflineModeIsEnabled:
                raise
            except HfHubHTTPError as error:
                if _status(error) not in _RETRIED or attempt == 2:
                    raise self._explained(error, model, revision) from error
            except (http.ConnectError, http.ConnectTimeout, http.ProxyError) as error:
                raise self._unreachable(model, error) from error
            except http.TransportError as error:
                if attempt == 2:
                    raise self._unreachable(model, error) from error
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                # A login page of the network, or a proxy's, in place of the hub's JSON.
                raise self._unreachable(model, error) from error
            time.sleep(self.pause * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, model: str, error: Exception) -> Unreachable:
        return Unreachable(
            f"{short_host(self.endpoint)} cannot be reached ({reason_of(error)})",
            "a network connection to it",
            _way_round(self.endpoint, model),
        )

    def _explained(self, error: Any, model: str, revision: str | None) -> ModelError:
        """The hub's refusal in one line, with the way out."""
        from huggingface_hub.errors import (
            GatedRepoError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
        from huggingface_hub.utils import get_token

        host, status = short_host(self.endpoint), _status(error)
        if isinstance(error, GatedRepoError):
            has = get_token() is not None and self.token is not False
            who = "the token's account was not let in" if has else "no token was sent"
            return ModelError(
                f"{model} is gated: its owner lets in only who accepted the terms ({who})",
                "an account with access, and its token",
                f"Ask for access at https://huggingface.co/{model}, then set HF_TOKEN=hf_…",
            )
        if isinstance(error, RevisionNotFoundError):
            return ModelError(
                f"{model} has no revision {revision!r}",
                self._revisions(model) or "a branch, tag or commit",
                "Leave --revision out for the newest.",
            )
        if isinstance(error, RepositoryNotFoundError):
            return not_found(model, host, self._search(model))
        if status in (401, 403):
            return ModelError(
                f"{host} refuses the token ({reason_of(error)})",
                "a valid one in HF_TOKEN, or none",
                "Make one at https://huggingface.co/settings/tokens (read access is enough).",
            )
        if status in _RETRIED:
            return Unreachable(
                f"{host} is too busy or down (HTTP {status})", "", _way_round(self.endpoint, model)
            )
        return ModelError(f"{host} answered HTTP {status} for {model} ({reason_of(error)})")

    def _search(self, model: str) -> list[str]:
        """Ids from the hub's search that may be meant; empty where it does not answer.

        One attempt each: HfApi.list_models would repeat it for a minute, for a mere suggestion.
        """
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers

        queries = [{"search": words} for words in searches(model)]
        if "/" in model:
            queries.append({"author": model.split("/")[0]})
        found: list[str] = []
        for query in queries:
            try:
                reply = get_session().get(
                    f"{self.endpoint}/api/models",
                    params={**query, "sort": "downloads", "limit": "200"},
                    headers=build_hf_headers(token=self.token),
                    timeout=self.timeout,
                )
                found += [str(info["id"]) for info in reply.raise_for_status().json()]
            except (OSError, ValueError, KeyError, TypeError, _http().HTTPError):
                continue
        return found

    def _revisions(self, model: str) -> str:
        try:
            refs = self.api.list_repo_refs(model)
        except (OSError, ValueError, RuntimeError, _http().HTTPError):
            return ""
        names = [ref.name for ref in (*refs.branches, *refs.tags)]
        return "one of " + ", ".join(names[:8]) if names else ""


def _way_round(endpoint: str, model: str) -> str:
    if endpoint != MIRROR:
        return (
            f"From China: stylellm download --model {model} --use-mirror (or --source modelscope). "
            "Behind a proxy: set HTTPS_PROXY."
        )
    return "Try --source modelscope or --source hf. Behind a proxy: set HTTPS_PROXY."


def _status(error: Any) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def _http() -> Any:
    """The HTTP library under huggingface_hub: httpx, since version 2 httpx2."""
    from huggingface_hub.errors import HfHubHTTPError

    base = next(cls for cls in HfHubHTTPError.__mro__ if cls.__name__ == "HTTPError")
    return import_module(base.__module__.split(".")[0])
