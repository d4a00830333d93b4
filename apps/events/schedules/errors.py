"""What can be wrong with a schedule."""


class InvalidSchedule(ValueError):
    """The settings of a timer cannot be used; ``field`` is the setting, the message begins with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class SearchTooLong(Exception):
    """Looking for the next due time took more steps than a search may take."""
