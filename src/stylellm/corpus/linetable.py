"""A text seen as lines, for the rules that remove whole ones."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

Edit = tuple[int, int, str]


class LineTable:
    """The lines of a text, and where they begin.

    Attributes:
        all: the lines, without their breaks.
        starts: their offsets in the text; one more for its end.
        filled: indices of the lines that are not blank.
    """

    def __init__(self, text: str) -> None:
        self.all = text.split("\n")
        self.starts = [0, *accumulate(len(line) + 1 for line in self.all)]
        self.filled = [index for index, line in enumerate(self.all) if line and not line.isspace()]

    def edit(self, first: int, last: int, length: int) -> Edit:
        """Remove the lines first..last with their line breaks from a text of `length`."""
        return (self.starts[first], min(self.starts[last + 1], length), "")

    def place(self, index: int) -> int:
        """Which of the filled lines this one is."""
        return bisect_left(self.filled, index)

    def runs(self, chosen: list[int]) -> list[list[int]]:
        """Group lines, given in order, that follow each other among the filled lines."""
        runs: list[list[int]] = []
        previous = -2
        for index in chosen:
            place = self.place(index)
            if place == previous + 1:
                runs[-1].append(index)
            else:
                runs.append([index])
            previous = place
        return runs
