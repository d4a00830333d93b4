"""The console's pages of work queues and their items."""

from apps.queues.admin.items import ItemAdmin
from apps.queues.admin.queues import QueueAdmin

__all__ = ["ItemAdmin", "QueueAdmin"]
