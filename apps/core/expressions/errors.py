"""What is told when an expression cannot be read or evaluated: a sentence, and the place in the text."""

from collections.abc import Iterable

_MAX_LISTED = 60  # as many as there are functions, and some more


class ExpressionError(Exception):
    """
    The expression could not be evaluated.

    ``message`` names what is wrong and never holds data, which may be secret. ``line`` and ``column`` count from 1
    and are None until the error has left the evaluator; ``path`` is the place of the text in a document. The text of
    the exception is the message with its place.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.line: int | None = None
        self.column: int | None = None
        self.path = ""

    def at(self, offset: int) -> "ExpressionError":
        """Return this error, with its place in the expression when it has none yet."""
        if self.offset is None:
            self.offset = offset
        return self

    def within(self, text: str, start: int = 0) -> "ExpressionError":
        """Return this error, with line and column in a text in which the expression begins at ``start``."""
        offset = start + (self.offset or 0)
        self.line = text.count("\n", 0, offset) + 1
        self.column = offset - (text.rfind("\n", 0, offset) + 1) + 1
        return self

    def __str__(self) -> str:
        if self.line is None:
            return self.message
        place = f"line {self.line}, column {self.column}"
        return f"{self.message} ({self.path}, {place})" if self.path else f"{self.message} ({place})"


class ExpressionSyntaxError(ExpressionError):
    """The text is no expression, or is longer or deeper nested than one may be."""


class UndefinedValue(ExpressionError):
    """A name, key or index is not there, or the whole expression found nothing."""


class LimitExceeded(ExpressionError):
    """It would take too many steps, or build something too large."""


def shortened(text: str, most: int = 100) -> str:
    """Return a text that stands in a message: its beginning when it is long."""
    return text if len(text) <= most else f"{text[:most]}..."


def listed(names: Iterable[str]) -> str:
    """Return names for a message, in order; the first of them when they are many."""
    found = sorted(names)
    more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
    return ", ".join(shortened(name, 40) for name in found[:_MAX_LISTED]) + more
