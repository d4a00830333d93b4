"""What a caller of this app is told when it cannot be done."""

from apps.core.errors import ConflictError, GoneError, NotFound, TooManyRequests, UnprocessableEntity


class ExecutionNotFound(NotFound):
    """Execution not found"""

    def __init__(self, execution_id: int) -> None:
        super().__init__(f"Execution with ID {execution_id} not found")


class AlreadyFinished(ConflictError):
    """The execution has ended and cannot be cancelled"""

    def __init__(self, execution_id: int, status: str, verb: str = "cancelled") -> None:
        super().__init__(f"Execution {execution_id} is in status '{status}' and cannot be {verb}")


class NotWaiting(ConflictError):
    """The execution does not wait any more and cannot be changed"""

    def __init__(self, execution_id: int, status: str) -> None:
        super().__init__(f"Execution {execution_id} is in status '{status}' and cannot be changed any more")


class ParentFinished(ConflictError):
    """The execution that asked is canceling or has ended and gets no more children"""


class ActionGone(ConflictError):
    """The action of the execution no longer exists"""


class NotAWorkflow(UnprocessableEntity):
    """Only a workflow can be retried by its failed tasks"""


class LogGone(GoneError):
    """The log was removed by retention"""


class LineFull(TooManyRequests):
    """A policy lets no more executions wait"""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, retry_after_seconds=1)
