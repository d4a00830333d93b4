"""What a function is, and the checks of arguments that all of them share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apps.core.expressions.errors import ExpressionError
from apps.core.expressions.values import is_number, kind_of


@dataclass(frozen=True)
class Function:
    """
    A function or filter: how it is called and how many arguments it takes.

    ``call`` gets the run and the arguments, which are there and of any JSON type. ``accepts_missing`` lets missing
    ones through as Undefined.
    """

    call: Callable[..., Any]
    least: int
    most: int
    accepts_missing: bool = False

    def arity_problem(self, count: int, *, filtered: int = 0) -> str | None:
        """Return what is wrong with this many arguments; ``filtered`` of them stand left of the bar and are not told."""
        if self.least <= count <= self.most:
            return None
        least, most = self.least - filtered, self.most - filtered
        wanted = str(least) if least == most else f"{least} to {most}"
        return f"takes {wanted} argument{'' if wanted == '1' else 's'}, not {count - filtered}"


def wrong(wanted: str, value: Any) -> ExpressionError:
    return ExpressionError(f"needs {wanted}, not {kind_of(value)}")


def text(value: Any) -> str:
    if value.__class__ is not str:
        raise wrong("a string", value)
    return value


def array(value: Any) -> list[Any]:
    if value.__class__ is not list:
        raise wrong("an array", value)
    return value


def mapping(value: Any) -> dict[str, Any]:
    if value.__class__ is not dict:
        raise wrong("an object", value)
    return value


def integer(value: Any) -> int:
    if value.__class__ is float:
        raise ExpressionError("needs an integer, not a number with decimals")
    if value.__class__ is not int:
        raise wrong("an integer", value)
    return value


def number(value: Any) -> Any:
    if not is_number(value):
        raise wrong("a number", value)
    return value


def text_or_array(value: Any) -> Any:
    if value.__class__ is not str and value.__class__ is not list:
        raise wrong("an array or a string", value)
    return value


def comparable(values: list[Any]) -> None:
    """Raise ExpressionError unless the values are all numbers or all strings."""
    if all(is_number(value) for value in values) or all(value.__class__ is str for value in values):
        return
    raise ExpressionError("needs all numbers or all strings")
