from __future__ import annotations

import contextlib
import gc
import os
import signal

import pytest

from stylellm.corpus.workers import collector_paused, map_ordered, num_processes


def _square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def _die(number: int) -> int:
    if number == 3 and os.environ.get("STYLELLM_TEST_PARENT") != str(os.getpid()):
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return number


def test_small_work_stays_here() -> None:
    assert num_processes(0, 1000, 50) == 1
    assert num_processes(1, 10**9, 50) == 1
    assert num_processes(4, 10**9, 50) == 4
    assert num_processes(4, 10**9, 2) == 2
    assert list(map_ordered(_square, [1, 2], 1)) == [(1, os.getpid()), (4, os.getpid())]


@pytest.mark.slow
def test_results_come_in_order_from_other_processes() -> None:
    results = list(map_ordered(_square, range(40), 2))
    assert [value for value, _ in results] == [n * n for n in range(40)]
    assert os.getpid() not in {process for _, process in results}


@pytest.mark.slow
def test_dead_processes_do_not_stop_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STYLELLM_TEST_PARENT", str(os.getpid()))
    assert list(map_ordered(_die, range(8), 2)) == list(range(8))
    assert "going on in one process" in capsys.readouterr().err


def test_the_collector_goes_on_afterwards() -> None:
    assert gc.isenabled()
    with collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    with contextlib.suppress(RuntimeError), collector_paused():
        raise RuntimeError("an error in the work")
    assert gc.isenabled()
