"""OpenAI's requests and answers, as far as they are served, with two fields more: strength and author.

Field names: OpenAI's API reference for completions and chat completions. What a field would change and
cannot is refused; what changes nothing (user, metadata, store) is taken and ignored.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stylellm.generation.sampler import Written

IGNORED = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
NEUTRAL: dict[str, Any] = {
    "best_of": 1, "frequency_penalty": 0, "presence_penalty": 0, "logprobs": False, "echo": False,
    "response_format": {"type": "text"}, "modalities": ["text"], "tool_choice": "none",
}  # fmt: skip
"""Values at which a field that is not served changes nothing."""
NOT_SERVED = {
    *NEUTRAL, "tools", "functions", "function_call", "logit_bias", "top_logprobs", "suffix", "audio",
    "prediction", "reasoning_effort", "parallel_tool_calls", "web_search_options", "verbosity",
}  # fmt: skip


class StreamOptions(BaseModel):
    """What a stream ends with."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False
    include_obfuscation: bool = False


class Request(BaseModel):
    """What completions and chat completions have in common."""

    model_config = ConfigDict(extra="allow")
    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, lt=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    max_chars: int | None = Field(None, ge=1)
    sentence_end: bool | None = None
    n: int = Field(1, ge=1, le=16)
    seed: int | None = Field(None, ge=0, lt=2**62)
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    strength: float = Field(1.0, ge=0, le=2)
    author: str | None = None

    @model_validator(mode="after")
    def _extra(self) -> Request:
        for name, value in (self.model_extra or {}).items():
            if name in IGNORED or value is None:
                continue
            if name not in NOT_SERVED:
                raise ValueError(f"unknown field {name!r}")
            if name not in NEUTRAL or value != NEUTRAL[name]:
                raise ValueError(f"{name} is not served")
        return self

    def changes(self) -> dict[str, Any]:
        """Fields of `Sampling` that the request sets."""
        names = ("top_p", "top_k", "min_p", "repetition_penalty", "max_chars", "sentence_end")
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.max_tokens is not None:
            found["max_new_tokens"] = self.max_tokens
        if self.temperature is not None:
            found |= {"do_sample": self.temperature > 0, "temperature": self.temperature or 1.0}
        if self.stop:
            found["stop"] = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        return found


class CompletionRequest(Request):
    """POST /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]] = ""

    def prompts(self) -> list[str | list[int]]:
        """Each prompt, as text or as token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]  # type: ignore[list-item]
        return [*self.prompt]


class Part(BaseModel):
    """A piece of a message's text."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    def plain(self) -> dict[str, str]:
        """Role and whole text."""
        text = self.content
        if not isinstance(text, str):
            text = "".join(part.text for part in text)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatRequest(Request):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    def changes(self) -> dict[str, Any]:
        found = super().changes()
        if self.max_completion_tokens is not None:
            found["max_new_tokens"] = self.max_completion_tokens
        return found


class Answer:
    """The shape of one answer, whole or in pieces.

    Args:
        chat: chat completions.
        model: what the client called the model.
        seed: with which the texts can be drawn again.
    """

    def __init__(self, *, chat: bool, model: str, seed: int) -> None:
        self.chat = chat
        kind = "chat.completion" if chat else "text_completion"
        prefix = "chatcmpl-" if chat else "cmpl-"
        self.head = {"id": prefix + secrets.token_hex(12), "created": int(time.time()),
                     "model": model, "seed": seed}  # fmt: skip
        self.object = kind

    def whole(self, written: Sequence[Written], prompt_tokens: int) -> dict[str, Any]:
        """The answer to a request without stream."""
        choices = [self._choice(i, w.text, finish_reason(w)) for i, w in enumerate(written)]
        return self.head | {"object": self.object, "choices": choices,
                            "usage": usage(written, prompt_tokens)}  # fmt: skip

    def piece(
        self, index: int, text: str, reason: str | None = None, *, first: bool = False
    ) -> Any:
        """A piece of the text of one choice, or its end."""
        return self._chunk([self._delta(index, text, reason, first)])

    def last(self, written: Sequence[Written], prompt_tokens: int) -> Any:
        """The piece that holds the counts."""
        return self._chunk([]) | {"usage": usage(written, prompt_tokens)}

    def _chunk(self, choices: list[Any]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.chat else self.object
        return self.head | {"object": kind, "choices": choices}

    def _choice(self, index: int, text: str, reason: str | None) -> dict[str, Any]:
        body: dict[str, Any] = {"text": text}
        if self.chat:
            body = {"message": {"role": "assistant", "content": text, "refusal": None}}
        return {"index": index, **body, "logprobs": None, "finish_reason": reason}

    def _delta(self, index: int, text: str, reason: str | None, first: bool) -> dict[str, Any]:
        if not self.chat:
            return self._choice(index, text, reason)
        delta = ({"role": "assistant"} if first else {}) | ({"content": text} if text else {})
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}


def finish_reason(written: Written) -> str:
    """``stop``: the text ended; ``length``: its room did."""
    return "stop" if written.ended else "length"


def usage(written: Sequence[Written], prompt_tokens: int) -> dict[str, int]:
    """Tokens read and written."""
    drawn = sum(w.tokens for w in written)
    return {"prompt_tokens": prompt_tokens, "completion_tokens": drawn,
            "total_tokens": prompt_tokens + drawn}  # fmt: skip


def failure(
    message: str, kind: str = "invalid_request_error", code: str | None = None
) -> dict[str, Any]:
    """The body of a refusal, as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def first_problem(errors: Sequence[Mapping[str, Any]]) -> str:
    """What pydantic found, in one line that names the field."""
    found = errors[0]
    place = ".".join(str(part) for part in found["loc"] if part != "body")
    said = str(found["msg"]).removeprefix("Value error, ")
    return f"{place}: {said}" if place else said
