"""Progress of a download: nothing, or bars on a terminal and lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class Quiet:
    """Says nothing; also the list of what is told."""

    def say(self, text: str) -> None:
        """One line for the user."""

    def begin(self, title: str, total: int) -> None:
        """A stage over ``total`` bytes begins."""

    def advance(self, count: int) -> None:
        """``count`` bytes more (or fewer); called from several threads."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class Bars(Quiet):
    """One bar per stage, with speed and time left; lines only where there is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self.console = Console(highlight=False, soft_wrap=True)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task: Any = None

    def say(self, text: str) -> None:
        self.bars.console.print(text, markup=False)

    def begin(self, title: str, total: int) -> None:
        if self.task is not None:
            self.bars.stop_task(self.task)
        self.task = self.bars.add_task(title, total=total) if total else None

    def advance(self, count: int) -> None:
        if self.task is not None:
            self.bars.update(self.task, advance=count)

    def __enter__(self) -> Bars:
        self.bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bars.stop()
