"""What callers without any grant are told (auth.md section 5)."""

from typing import Any


class ReadsRefused:
    """Reads without the grant answer 403, for a single row too: nothing of workers and runtimes is public."""

    def before_denial(self: Any) -> None:
        if self.request.method not in self.READS:
            super().before_denial()  # type: ignore[misc]  # the ViewSet it is mixed into
