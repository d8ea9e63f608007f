"""Writing in turns: a story that grows, with commands that turn the style between turns."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HELP = """\
Type text: it is added to the story and continued. An empty line continues further.
A line that ends with \\ goes on in the next line. ____ or [MASK] in a line: the gap is filled.
  /strength S     0 is the base, 1 the trained style, up to 2
  /author SPEC    another author, or a mixture: 古龙=0.7,金庸=0.3
  /seed N   /temperature T   /length CHARACTERS
  /retry          write the last turn again, with the next seed
  /undo           take the last turn back
  /compare        the last turn as the base would have written it
  /show           the story so far
  /new            begin a new story
  /save FILE      write the story to a file
  /quit"""


@dataclass
class Turn:
    """What the user gave, and what was written."""

    given: str
    written: str
    seed: int


class Conversation:
    """The state of an interactive session.

    Args:
        writer: a `Writer`.
        ask: gives the next line; raises EOFError at the end.
        say: prints, without a line end.
    """

    def __init__(
        self,
        writer: Any,
        ask: Callable[[str], str] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.writer, self.ask = writer, ask or input
        self.say = say or _say
        self.turns: list[Turn] = []
        self.seed = writer.options.seed
        self.commands: dict[str, Callable[[str], None]] = {
            "help": lambda _: self.say(HELP + "\n"),
            "strength": self._strength,
            "author": self._author,
            "seed": self._number("seed", int, 0, 2**32),
            "temperature": self._number("temperature", float, 0, 10),
            "length": self._number("max_chars", int, 1, 10**6),
            "retry": self._retry,
            "undo": self._undo,
            "compare": self._compare,
            "show": lambda _: self.say(self.story() + "\n"),
            "new": self._new,
            "save": self._save,
        }

    def story(self) -> str:
        """All turns as one text."""
        return "".join(turn.given + turn.written for turn in self.turns)

    def run(self) -> None:
        """Turn after turn until /quit or the end of the input."""
        from stylellm.errors import StyleLLMError

        self.say("Type the opening of a text; /help shows what else can be typed, /quit ends.\n")
        while True:
            try:
                line = self._line()
            except (EOFError, KeyboardInterrupt):
                self.say("\n")
                return
            if line.strip() in ("/quit", "/exit"):
                return
            try:
                self.take(line)
            except StyleLLMError as error:
                self.say(f"{error}\n")

    def take(self, line: str) -> None:
        """One line of the user's."""
        from stylellm.generation.infill import GAP

        if line.startswith("/"):
            name, _, rest = line[1:].partition(" ")
            command = self.commands.get(name)
            if command is None:
                self.say(f"no command /{name}; /help shows all\n")
            else:
                command(rest.strip())
        elif GAP.search(line):
            self._fill(line)
        elif line or self.turns:
            self._write(line)

    def _line(self) -> str:
        parts = [self.ask("> ")]
        while parts[-1].endswith("\\"):
            parts[-1] = parts[-1][:-1]
            parts.append(self.ask("… "))
        return "\n".join(parts)

    def _write(self, given: str) -> None:
        before = self.story() + given
        self.say(given)
        text = self._stream(before)
        self.say("\n")
        self.turns.append(Turn(given, text, self.seed))
        self.seed += 1
        self._report_copies(text)

    def _stream(self, before: str) -> str:
        """The continuation, shown as it grows; Ctrl-C ends it and keeps what was written."""
        pieces: list[str] = []

        def show(piece: str) -> None:
            pieces.append(piece)
            self.say(piece)

        try:
            return self.writer.continue_texts(
                [before], seeds=[self.seed], on_text=show, newest=True
            )[0]
        except KeyboardInterrupt:
            self.say(" (stopped)")
            return "".join(pieces)

    def _fill(self, line: str) -> None:
        from stylellm.cli.show import print_fillings

        with contextlib.suppress(KeyboardInterrupt):
            print_fillings(self.writer.fill(line, 4, None))

    def _report_copies(self, text: str) -> None:
        from stylellm.cli.show import print_copies

        print_copies(self.writer.copies(text))

    def _strength(self, rest: str) -> None:
        value = self._parse(rest, float, 0, 2)
        if value is not None:
            before = self.writer.options.strength
            self.writer.options.strength = value
            self._applied("strength", before)
        self.say(f"strength {self.writer.options.strength:g}\n")

    def _author(self, rest: str) -> None:
        from stylellm.generation.strength import authors

        if rest:
            before = self.writer.options.author
            self.writer.options.author = rest
            self._applied("author", before)
        current = self.writer.options.author or "default"
        self.say(f"author {current} (loaded: {', '.join(authors(self.writer.policy))})\n")

    def _applied(self, name: str, before: Any) -> None:
        """Applies the options; one that cannot be is set back."""
        from stylellm.errors import StyleLLMError

        try:
            self.writer.apply()
        except StyleLLMError:
            setattr(self.writer.options, name, before)
            self.writer.apply()
            raise

    def _number(
        self, name: str, kind: Callable[[str], Any], low: float, high: float
    ) -> Callable[[str], None]:
        def command(rest: str) -> None:
            value = self._parse(rest, kind, low, high)
            if value is None:
                return
            if name == "seed":
                self.seed = value
            else:
                self.writer.options.changes[name] = value
            self.say(f"{name} {value:g}\n")

        return command

    def _parse(self, text: str, kind: Callable[[str], Any], low: float, high: float) -> Any:
        if not text:
            return None
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            self.say(f"{text}: a number from {low:g} to {high:g}, please\n")
            return None
        return value

    def _retry(self, _: str) -> None:
        if self.turns:
            given = self.turns.pop().given
            self._write(given)

    def _undo(self, _: str) -> None:
        if self.turns:
            self.turns.pop()
            self.say(f"taken back; {len(self.turns)} turns left\n")

    def _compare(self, _: str) -> None:
        if not self.turns:
            return
        last = self.turns[-1]
        before = self.story().removesuffix(last.written)
        base = self.writer.continue_texts([before], seeds=[last.seed], which="base", newest=True)[0]
        from stylellm.cli.show import print_row

        print_row({"prompt": last.given, "base": base, "policy": last.written})

    def _new(self, _: str) -> None:
        self.turns.clear()
        self.say("a new story\n")

    def _save(self, rest: str) -> None:
        from stylellm.files import write_text

        if not rest:
            self.say("/save FILE\n")
            return
        write_text(Path(rest), self.story() + "\n")
        self.say(f"saved: {rest}\n")


def converse(writer: Any) -> None:
    """An interactive session; line editing and history where the terminal has them."""
    with contextlib.suppress(ImportError):  # Windows' console has its own
        import readline  # noqa: F401
    Conversation(writer).run()


def _say(text: str) -> None:
    """Prints model text without control characters, at once."""
    sys.stdout.write("".join(c for c in text if c == "\n" or c.isprintable()))
    sys.stdout.flush()
