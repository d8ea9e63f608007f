"""``stylellm serve``: an OpenAI-compatible server over a trained style."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EXAMPLE = """\
example:
  stylellm serve output/wuxia_model
  stylellm serve output/wuxia_model --port 9000 --api_key secret
  stylellm serve output/a --authors 古龙=output/b        (model or author: 古龙, or 古龙=0.7,default=0.3)

  curl http://127.0.0.1:8000/v1/completions -H "Content-Type: application/json" \\
    -d '{"model": "wuxia_model", "prompt": "剑光一闪", "max_tokens": 100, "strength": 0.8}'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("folder", help="output folder of a training run, or a peft adapter folder")
    parser.add_argument("--host", default="127.0.0.1", help="(127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (8000)")
    parser.add_argument("--api_key", metavar="KEY", default=os.environ.get("STYLELLM_API_KEY"),
                        help="ask clients for it (default: $STYLELLM_API_KEY, else none)")  # fmt: skip
    parser.add_argument("--served_model_name", metavar="NAME",
                        help="what clients call the model (the folder's name)")  # fmt: skip
    parser.add_argument("--authors", action="append", default=[], metavar="NAME=DIR",
                        help="another author's adapter on the same base; may be repeated")  # fmt: skip
    parser.add_argument("--max_queue", type=int, default=32, metavar="N",
                        help="requests that may wait; more get 503 (32)")  # fmt: skip
    parser.add_argument("--model_name", metavar="ID", help="base model, if not the adapter's own")


def run(args: argparse.Namespace) -> int:
    _check(args)
    import uvicorn

    from stylellm.delivery.serve import create_app

    engine = make_engine(args)
    app = create_app(engine, api_key=args.api_key, max_queue=args.max_queue)
    config = uvicorn.Config(app, args.host, args.port, log_level="warning", access_log=False)
    server = _server(config)
    with _listening(config) as (socket, port):
        host = f"[{args.host}]" if ":" in args.host else args.host
        print(
            f"serving {', '.join(engine.models())} at http://{host}:{port}/v1  (Ctrl+C stops)",
            flush=True,
        )
        if args.host not in ("127.0.0.1", "localhost", "::1") and not args.api_key:
            print(
                "note: anybody who reaches this machine can use it; --api_key KEY asks for a key",
                flush=True,
            )
        server.run(sockets=[socket])
    print("stopped")
    return 0


def make_engine(args: argparse.Namespace) -> Any:
    """The loaded policy behind the server."""
    from stylellm.cli.write import authors_of
    from stylellm.cli.writer import Writer
    from stylellm.delivery.engine import Engine

    folder = Path(args.folder)
    writer = Writer(folder, base=args.model_name, authors=authors_of(args.authors))
    name = args.served_model_name or folder.resolve().name
    return Engine(
        writer.policy, writer.tokenizer, writer.base_sampling, name=name, chat=writer.uses_chat()
    )


def _check(args: argparse.Namespace) -> None:
    from stylellm.errors import StyleLLMError, check_installed

    check_installed("fastapi", "uvicorn", what="the server", extra="serve")
    if not 0 <= args.port <= 65535:
        raise StyleLLMError(f"--port {args.port}", "0 to 65535")
    if args.max_queue < 1:
        raise StyleLLMError(f"--max_queue {args.max_queue}", "1 or more")


@contextmanager
def _listening(config: Any) -> Iterator[tuple[Any, int]]:
    """A bound socket, so that a port in use is told before anything is said to be served."""
    import socket

    from stylellm.errors import StyleLLMError

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        if os.name != "nt":  # elsewhere it would share a port in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((config.host, config.port))
        except OSError as error:
            raise StyleLLMError(
                f"cannot listen on {config.host} port {config.port} ({error.strerror or error})",
                "a free port of this machine", "Name another with --port, or 0 for any.",
            ) from error  # fmt: skip
        yield listener, listener.getsockname()[1]


def _server(config: Any) -> Any:
    """A server that finishes what is being written when it is told to stop, and then returns."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn raises the signal again at the end, so that the process dies of it.
            before = {
                s: signal.signal(s, self.handle_exit) for s in (signal.SIGINT, signal.SIGTERM)
            }
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    return Server(config)
