"""What a caller of this app is told when it cannot be done."""

from datetime import datetime

from apps.core import clock
from apps.core.errors import BadRequest, ConflictError, NotFound


class InquiryNotFound(NotFound):
    """Inquiry not found"""

    def __init__(self, inquiry_id: int) -> None:
        super().__init__(f"Inquiry with ID {inquiry_id} not found")


class AlreadyAsked(ConflictError):
    """The execution has an inquiry"""

    def __init__(self, execution_id: int) -> None:
        super().__init__(f"Execution {execution_id} has an inquiry already")


class NotPending(BadRequest):
    """The inquiry is not pending any more"""

    def __init__(self, inquiry_id: int, status: str) -> None:
        super().__init__(f"Inquiry {inquiry_id} is in status '{status}' and cannot be responded to")


class PastDeadline(BadRequest):
    """The inquiry's deadline has passed"""

    def __init__(self, inquiry_id: int, deadline: datetime | None) -> None:
        super().__init__(f"Inquiry {inquiry_id} timed out at {clock.as_text(deadline)}")
