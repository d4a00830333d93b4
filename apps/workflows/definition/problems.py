"""What is wrong with a workflow definition, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypedDict

MAX_PROBLEMS = 500  # told at once; a definition can hold more mistakes than anybody reads

Path = tuple[str | int, ...]


class Weight(Enum):
    """How much a problem matters: an error everywhere, one for whoever validates but not on saving, or a warning."""

    ERROR = "error"
    LINT = "lint"
    ADVICE = "advice"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """``path`` leads to the value; ``offset`` is the faulty place in it when it is a text."""

    code: str
    message: str
    path: Path
    weight: Weight = Weight.ERROR
    offset: int | None = None

    @property
    def pointer(self) -> str:
        """The path as a JSON pointer (RFC 6901)."""
        return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in self.path)


class Entry(TypedDict):
    """A problem as the API tells it; ``line`` and ``column`` count from 1 and are null without a text."""

    code: str
    message: str
    path: str
    line: int | None
    column: int | None


class InvalidDefinition(ValueError):
    """The definition cannot be used; ``problems`` are its errors."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        first = self.problems[0]
        super().__init__(f"{first.pointer}: {first.message}" if first.path else first.message)


@dataclass(kw_only=True)
class Problems:
    """Collects problems in the order in which they are found."""

    found: list[Problem] = field(default_factory=list)

    def error(self, code: str, message: str, path: Path) -> None:
        self.add(Problem(code=code, message=message, path=path))

    def lint(self, code: str, message: str, path: Path, offset: int | None = None) -> None:
        self.add(Problem(code=code, message=message, path=path, weight=Weight.LINT, offset=offset))

    def advice(self, code: str, message: str, path: Path, offset: int | None = None) -> None:
        self.add(Problem(code=code, message=message, path=path, weight=Weight.ADVICE, offset=offset))

    def add(self, problem: Problem) -> None:
        self.found.append(problem)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.found if problem.weight is Weight.ERROR]
