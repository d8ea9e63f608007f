"""Work spread over processes: started clean (spawn), in order, and gone when the run is.

A shelf that one process reads in a few seconds is read in this one: starting others costs as much.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

WORTH_A_PROCESS = 6_000_000
"""Bytes of text that one process handles in about the time in which another starts."""
_AHEAD = 3  # tasks handed out for each process: enough to keep it busy, few enough to stay small


def num_processes(num_workers: int, size: int, tasks: int) -> int:
    """How many processes to start for tasks of `size` bytes in all; 1 = none but this one.

    Args:
        num_workers: as the user set it; 0 = one per core.
        size: bytes of text.
        tasks: how many independent pieces there are.
    """
    wanted = num_workers or available_cores()
    return max(1, min(wanted, tasks, size // WORTH_A_PROCESS))


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """No search for reference cycles meanwhile.

    The places and windows of books are millions of objects without cycles, and looking through them
    again and again takes a tenth of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def map_ordered(
    function: Callable[[T], R],
    tasks: Sequence[T],
    processes: int,
    initializer: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[R]:
    """`map(function, tasks)`, in order, in `processes` processes (1 = this one).

    Tasks are handed out a few at a time, so that neither they nor their results pile up. Should the
    processes die (killed for memory, or refused by the system), this one goes on alone.

    Args:
        function, initializer: functions of a module, since they are pickled by name.
        arguments: of the initializer, which runs first in every process.
    """
    done = 0
    if processes > 1:
        try:
            for result in _map_spawned(function, tasks, processes, initializer, arguments):
                yield result
                done += 1
            return
        except (BrokenProcessPool, PermissionError) as error:
            print(f"worker processes ended ({error}); going on in one process", file=sys.stderr)
    if initializer:
        initializer(*arguments)
    for task in islice(tasks, done, None):
        yield function(task)


def _map_spawned(
    function: Callable[[T], R],
    tasks: Sequence[T],
    processes: int,
    initializer: Callable[..., None] | None,
    arguments: tuple[Any, ...],
) -> Iterator[R]:
    import multiprocessing

    pool = ProcessPoolExecutor(
        processes,
        multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(initializer, arguments),
    )
    waiting: deque[Future[R]] = deque()
    finished = False
    try:
        for task in tasks:
            if len(waiting) >= _AHEAD * processes:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, task))
        while waiting:
            yield waiting.popleft().result()
        finished = True
    finally:
        if not finished:
            _stop(pool)
        pool.shutdown(wait=finished, cancel_futures=True)


def _start(initializer: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """First thing in a worker: leave Ctrl-C to the parent, and use one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    gc.disable()  # see collector_paused
    if initializer:
        initializer(*arguments)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the processes of an interrupted run now, not after their tasks."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        with contextlib.suppress(Exception):
            process.terminate()
