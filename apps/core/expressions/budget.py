"""What one evaluation may use: the limits of workflows.md 6.7, and the state that counts against them."""

from apps.core.expressions.errors import LimitExceeded
from apps.core.expressions.scope import Scope

MAX_STEPS = 100_000
MAX_TEXT = 1_048_576  # characters of a string that an operator or function builds
MAX_ITEMS = 100_000  # elements of an array that one builds
MAX_INTEGER_BITS = 4096  # of what arithmetic yields; integers of the data may be larger and stay as they are
CHARACTERS_PER_STEP = 256  # an operation over a string of 1 MiB takes 4096 steps, about a millisecond


class Run:
    """
    One evaluation under way.

    There are no loops in the language, so the length of the text bounds how many operators run. Steps are charged
    for what grows with the data: elements visited, characters read, instructions of a regular expression.
    """

    __slots__ = ("functions", "lenient", "now", "roots", "selves", "steps")

    def __init__(self, scope: Scope, *, lenient: bool = False, steps: int = MAX_STEPS) -> None:
        self.roots = scope.roots
        self.functions = scope.functions
        self.now = scope.now
        self.selves = scope.selves
        self.lenient = lenient
        self.steps = steps

    def charge(self, steps: int) -> None:
        """Take steps from what is left. Raises LimitExceeded when that is not enough."""
        if steps > self.steps:
            self.steps = 0
            raise LimitExceeded(f"takes more than {MAX_STEPS:,} steps")
        self.steps -= steps

    def charge_text(self, characters: int) -> None:
        """Take the steps for reading this many characters."""
        self.charge(characters // CHARACTERS_PER_STEP)


def check_text_size(characters: int) -> None:
    """Raise LimitExceeded when a string of this size must not be built."""
    if characters > MAX_TEXT:
        raise LimitExceeded(f"would build a text of more than {MAX_TEXT:,} characters")


def check_item_count(items: int) -> None:
    """Raise LimitExceeded when an array of this size must not be built."""
    if items > MAX_ITEMS:
        raise LimitExceeded(f"would build an array of more than {MAX_ITEMS:,} elements")
