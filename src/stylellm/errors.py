"""Errors that a user can act on.

Every message is one line: what was found, what was expected, and the next step. The command line
prints it without a traceback and exits with status 2.
"""

from __future__ import annotations

from importlib.util import find_spec


class StyleLLMError(ValueError):
    """A problem the user can fix.

    Args:
        found: what is wrong, naming the file, key or value.
        expected: what would have been right.
        hint: the command or key that changes it.
    """

    def __init__(self, found: str, expected: str = "", hint: str = "") -> None:
        self.found = found
        self.expected = expected
        self.hint = hint
        parts = [found.rstrip(".")]
        if expected:
            parts.append(f"expected {expected.rstrip('.')}")
        message = "; ".join(parts) + "."
        if hint:
            message += f" {hint}"
        super().__init__(message)


class ConfigError(StyleLLMError):
    """One or more problems in a configuration, collected and reported together."""

    def __init__(self, problems: list[str], source: str = "configuration") -> None:
        self.problems = problems
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{count} in {source}")
        self.args = (f"{count} in {source}:{lines}",)


class DataError(StyleLLMError):
    """Books, prepared data or prompts that cannot be used."""


class ModelError(StyleLLMError):
    """A model, tokenizer or adapter that cannot be used."""


class OutputError(StyleLLMError):
    """An output folder that exists, is not writable, or has no space."""


class TrainingError(StyleLLMError):
    """Training cannot start or cannot go on (for example a loss that is not finite)."""


def check_installed(*packages: str, what: str, extra: str) -> None:
    """Refuses work that needs an extra which is not there.

    Args:
        packages: modules that must be importable.
        what: what needs them.
        extra: which of pyproject.toml's extras brings them.

    Raises:
        StyleLLMError: one is absent.
    """
    absent = [package for package in packages if find_spec(package) is None]
    if absent:
        raise StyleLLMError(
            f"{what} needs {' and '.join(absent)}, not installed", "an extra",
            f'pip install ".[{extra}]"',
        )  # fmt: skip


def first_line(error: Exception) -> str:
    """The reason that a library gave, short enough for a one-line message."""
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else repr(error)
