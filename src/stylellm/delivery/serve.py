"""An OpenAI-compatible server over a trained style: /v1/completions, /v1/chat/completions, /v1/models.

One thread writes, requests wait in line in the order in which they came, up to a limit. A client that
goes away frees its place, and its text stops before the next token.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest

from stylellm.delivery.engine import Cancelled, Engine, Job
from stylellm.delivery.serve_protocol import (
    Answer,
    ChatRequest,
    CompletionRequest,
    Request,
    failure,
    finish_reason,
    first_problem,
)
from stylellm.errors import StyleLLMError
from stylellm.generation.sampler import Written

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.2
"""How often it is looked whether the client is still there."""


class Busy(Exception):
    """As many requests wait as may."""


class Line:
    """Requests one after the other, in a thread of their own.

    Args:
        engine: writes.
        max_queue: requests that may wait or be written at a time.
    """

    def __init__(self, engine: Engine, max_queue: int) -> None:
        self.engine, self.max_queue, self.waiting = engine, max_queue, 0
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="write")

    def submit(
        self,
        job: Job,
        cancelled: threading.Event,
        on_text: Callable[[int, str], None] | None = None,
    ) -> asyncio.Future[list[Written]]:
        """Puts a job in line.

        Raises:
            Busy: the line is full.
        """
        if self.waiting >= self.max_queue:
            raise Busy
        self.waiting += 1
        future = asyncio.get_running_loop().run_in_executor(
            self.pool, self.engine.write, job, cancelled, on_text
        )
        future.add_done_callback(self._left)
        return future

    def _left(self, future: asyncio.Future[Any]) -> None:
        self.waiting -= 1
        if not future.cancelled():
            future.exception()  # somebody has looked at it, even where the client has gone


def create_app(engine: Engine, *, api_key: str | None = None, max_queue: int = 32) -> FastAPI:
    """The application.

    Args:
        engine: the loaded policy.
        api_key: what clients must send as bearer token; None asks for none.
        max_queue: requests that may wait or be written at a time; more are refused with 503.
    """
    app = FastAPI(title="StyleLLM", docs_url=None, redoc_url=None, openapi_url=None)
    line = Line(engine, max_queue)
    started = int(time.time())
    _refusals(app)
    api = APIRouter(prefix="/v1", dependencies=[Depends(_key_check(api_key))] if api_key else [])

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "waiting": line.waiting}

    @api.get("/models")
    async def models() -> dict[str, Any]:
        data = [_model(name, started) for name in engine.models()]
        return {"object": "list", "data": data}

    @api.get("/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        _known(engine, name)
        return _model(name, started)

    @api.post("/completions")
    async def completions(body: CompletionRequest, http: HttpRequest) -> Any:
        ids = [engine.encode(p) if isinstance(p, str) else p for p in body.prompts()]
        return await _answer(line, body, ids, http, chat=False)

    @api.post("/chat/completions")
    async def chat_completions(body: ChatRequest, http: HttpRequest) -> Any:
        prompt = engine.conversation([message.plain() for message in body.messages])
        return await _answer(line, body, [engine.encode(prompt)], http, chat=True)

    app.include_router(api)
    return app


async def _answer(
    line: Line, body: Request, ids: list[list[int]], http: HttpRequest, *, chat: bool
) -> Any:
    engine = line.engine
    _known(engine, body.model)
    seed = secrets.randbits(31) if body.seed is None else body.seed
    author = body.author or (None if body.model == engine.name else body.model)
    job = Job(ids, body.n, seed, body.changes(), body.strength, author)
    _check_ids(engine, ids)
    engine.check(job)
    answer = Answer(chat=chat, model=body.model, seed=seed)
    prompt_tokens = sum(map(len, ids))
    if body.stream:
        counted = body.stream_options is not None and body.stream_options.include_usage
        events = _events(line, job, answer, prompt_tokens, counted)
        first = await anext(events)  # a full line is refused before the stream begins
        return StreamingResponse(_sent(first, events), media_type="text/event-stream")
    cancelled = threading.Event()
    future = line.submit(job, cancelled)
    while not future.done():
        await asyncio.wait({future}, timeout=POLL_SECONDS)
        if not future.done() and await http.is_disconnected():
            cancelled.set()
    return answer.whole(await future, prompt_tokens)


async def _sent(first: str, events: AsyncIterator[str]) -> AsyncIterator[str]:
    try:
        yield first
        async for event in events:
            yield event
    finally:
        await events.aclose()  # type: ignore[attr-defined]


async def _events(
    line: Line, job: Job, answer: Answer, prompt_tokens: int, counted: bool
) -> AsyncIterator[str]:
    """The pieces as server-sent events; closing the iterator stops the writing."""
    loop, cancelled = asyncio.get_running_loop(), threading.Event()
    pieces: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue()

    def on_text(index: int, piece: str) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, (index, piece))

    future = line.submit(job, cancelled, on_text)
    future.add_done_callback(lambda _: pieces.put_nowait(None))
    try:
        for index in range(len(job.prompts) * job.count):
            yield _event(answer.piece(index, "", first=True))
        while (item := await pieces.get()) is not None:
            yield _event(answer.piece(*item))
        try:
            written = await future
        except StyleLLMError as error:  # the status is sent already
            yield _event(failure(str(error)))
            return
        for index, text in enumerate(written):
            yield _event(answer.piece(index, "", finish_reason(text)))
        if counted:
            yield _event(answer.last(written, prompt_tokens))
        yield "data: [DONE]\n\n"
    finally:
        cancelled.set()


def _event(body: Any) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "stylellm"}


def _known(engine: Engine, name: str) -> None:
    known = engine.models()
    if name not in known:
        raise HTTPException(
            404, f"the model {name!r} is not served here; expected {' or '.join(known)}."
        )


def _check_ids(engine: Engine, ids: list[list[int]]) -> None:
    size = engine.policy.get_input_embeddings().num_embeddings
    if not ids or not all(ids):
        raise StyleLLMError("a prompt without tokens", "text, or at least one token id")
    if any(not 0 <= token < size for row in ids for token in row):
        raise StyleLLMError("a token id outside the vocabulary", f"0 to {size - 1}")


def _refusals(app: FastAPI) -> None:
    """Every refusal in OpenAI's form."""

    @app.exception_handler(StyleLLMError)
    async def refused(_: HttpRequest, error: Any) -> JSONResponse:
        return JSONResponse(failure(str(error)), 400)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: HttpRequest, error: Any) -> JSONResponse:
        return JSONResponse(failure(first_problem(error.errors())), 400)

    @app.exception_handler(HTTPException)
    async def http(_: HttpRequest, error: Any) -> JSONResponse:
        code = {401: "invalid_api_key", 404: "not_found"}.get(error.status_code)
        return JSONResponse(failure(str(error.detail), code=code), error.status_code)

    @app.exception_handler(Busy)
    async def busy(_: HttpRequest, error: Any) -> JSONResponse:
        body = failure("too many requests wait already; try again", "server_error", "queue_full")
        return JSONResponse(body, 503, {"Retry-After": "1"})

    @app.exception_handler(Cancelled)
    async def gone(_: HttpRequest, error: Any) -> JSONResponse:
        return JSONResponse(failure("the client has gone"), 499)

    @app.exception_handler(Exception)
    async def failed(_: HttpRequest, error: Any) -> JSONResponse:
        logger.exception("a request failed", exc_info=error)
        return JSONResponse(
            failure("writing failed; the server's log says why", "server_error"), 500
        )


def _key_check(api_key: str) -> Callable[[HttpRequest], None]:
    def check(request: HttpRequest) -> None:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not hmac.compare_digest(sent.encode(), api_key.encode()):
            raise HTTPException(401, "wrong or missing API key")

    return check
