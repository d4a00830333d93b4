"""What a caller of this app is told when it cannot be done."""

from apps.core.errors import BadRequest, ConflictError, Forbidden, NotFound, TooManyRequests


class QueueNotFound(NotFound):
    """Queue not found"""

    def __init__(self, ref: object) -> None:
        super().__init__(f"Queue '{ref}' not found")


class QueueRefTaken(ConflictError):
    """A queue with this ref already exists"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Queue with ref '{ref}' already exists")


class InvalidConfig(BadRequest):
    """The config of the queue cannot be used"""


class ManagedQueue(Forbidden):
    """The queue belongs to a pack"""

    def __init__(self, ref: str, verb: str) -> None:
        super().__init__(
            f"Queue '{ref}' is managed by its pack and cannot be {verb}; only 'enabled' and 'accepting_new_items' can"
        )


class NotAccepting(ConflictError):
    """The queue takes no new items"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Queue '{ref}' is not accepting new items")


class ImmutableItem(ConflictError):
    """An item with this key waits and may not be changed"""

    def __init__(self, ref: str, item_key: str) -> None:
        super().__init__(f"Queue '{ref}' has a pending item with key '{item_key}', and pending items are immutable")


class KeyTaken(ConflictError):
    """Another item with this key waits"""

    def __init__(self, ref: str, item_key: str | None) -> None:
        super().__init__(f"Queue '{ref}' has another pending item with key '{item_key}'")


class QueueFull(TooManyRequests):
    """The queue has as many waiting items as it may"""

    def __init__(self, ref: str, max_depth: int) -> None:
        super().__init__(f"Queue '{ref}' is full: {max_depth} items are waiting", retry_after_seconds=5)


class ItemNotFound(NotFound):
    """Queue item not found"""

    def __init__(self, item_id: int) -> None:
        super().__init__(f"Queue item with ID {item_id} not found")


class NotPending(ConflictError):
    """The item does not wait"""

    def __init__(self, item_id: int, status: str, verb: str) -> None:
        super().__init__(f"Queue item {item_id} is in status '{status}' and cannot be {verb}")
