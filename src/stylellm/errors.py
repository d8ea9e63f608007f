"""Errors that a user can act on.

Every message is one line: what was found, what was expected, and the next step. The command line
prints it without a traceback and exits with status 2.
"""

from __future__ import annotations


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
