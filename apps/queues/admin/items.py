"""Items of queues: what they carry, what became of them, and why."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import CreatedFilter, MachineRows, as_time, linked_filter
from apps.core.api.query import parse_moment
from apps.core.row_verbs import RowsWithVerbs, RowVerb
from apps.identity.grants import narrowed
from apps.queues import items
from apps.queues.admin.queues import item_badge
from apps.queues.items import ENDED
from apps.queues.models import PENDING, WorkQueueItem
from apps.queues.visibility import with_their_queue


def _delete(item: WorkQueueItem, _request: HttpRequest) -> bool:
    items.delete_item(item)
    return True


VERBS = {
    "requeue": RowVerb(
        label="Try again",
        done="waits again",
        offered=lambda item: item.status in ENDED,
        call=lambda item, _request: items.requeue_item(item),
    ),
    "cancel": RowVerb(
        label="Cancel",
        done="is cancelled",
        asks="Nobody works on it then; it stays here and can be tried again.",
        offered=lambda item: item.status in PENDING,
        call=lambda item, _request: items.cancel_item(item),
    ),
    "remove": RowVerb(
        label="Delete",
        done="is deleted",
        asks="Nobody works on it then, and nothing of it stays.",
        danger=True,
        offered=lambda item: item.status in PENDING,
        call=_delete,
    ),
}


@admin.register(WorkQueueItem)
class ItemAdmin(RowsWithVerbs, MachineRows):
    needs = {
        "view": "queues:read", "requeue": "queues:update", "cancel": "queues:update", "remove": "queues:delete",
    }  # fmt: skip
    visible = staticmethod(lambda caller, rows: narrowed(rows, with_their_queue(caller)))
    verbs = VERBS
    page_template = "admin/queues/workqueueitem/page.html"
    list_display = (
        "number", "of_queue", "item_key", "state", "priority", "attempt_count", "short_error", as_time("created"),
    )  # fmt: skip
    list_filter = ("status", CreatedFilter, linked_filter("queue", "queue"), linked_filter("item_key", "key"))
    list_defer = ("payload", "metadata", "ack_summary", "attempts")
    list_select_related = ("queue",)
    ordering = ("-id",)
    search_fields = ("=item_key", "=queue_ref")
    search_help_text = "The whole key, or the ref of a queue"

    @admin.display(description="item")
    def number(self, item: WorkQueueItem) -> str:
        return f"#{item.pk}"

    @admin.display(description="queue")
    def of_queue(self, item: WorkQueueItem) -> SafeString:
        return markup.row_link("queues_workqueue", item.queue_id, item.queue_ref)

    @admin.display(description="status")
    def state(self, item: WorkQueueItem) -> SafeString:
        return item_badge(item.status)

    @admin.display(description="last error")
    def short_error(self, item: WorkQueueItem) -> SafeString:
        return markup.cut(item.last_error, 60)

    # --- The page -----------------------------------------------------------------------------------------------

    def find(self, pk: int) -> WorkQueueItem | None:
        return WorkQueueItem.objects.select_related("queue", "requested_by_identity").filter(pk=pk).first()

    def page_context(self, row: WorkQueueItem, caller: Any) -> dict[str, Any]:
        return {
            "state": self.state(row),
            "attempts": [_attempt(entry) for entry in reversed(row.attempts)],
            "payload": markup.json_block(markup.without_secrets(row.queue.item_schema, row.payload)),
            "metadata": markup.json_block(row.metadata) if row.metadata else None,
            "summary": markup.json_block(row.ack_summary) if row.ack_summary is not None else None,
            "facts": _facts(row, self.of_queue(row)),
        }

    def after_verb(self, name: str, pk: int) -> str:
        return self.address("changelist") if name == "remove" else super().after_verb(name, pk)


def _attempt(entry: Any) -> dict[str, Any]:
    given = entry if isinstance(entry, dict) else {}
    at, execution = given.get("at"), given.get("execution")
    return {
        "execution": _execution(execution),
        "status": item_badge(str(given.get("status"))),
        "error": given.get("error") or markup.EMPTY,
        "at": markup.when(parse_moment(at) if isinstance(at, str) else None),
    }


def _execution(pk: Any) -> SafeString:
    return markup.row_link("executions_execution", pk, f"#{pk}") if isinstance(pk, int) else markup.EMPTY


def _facts(item: WorkQueueItem, queue: SafeString) -> list[tuple[str, Any]]:
    identity = item.requested_by_identity
    return [
        ("Queue", queue),
        ("Key", item.item_key or markup.EMPTY),
        ("Priority", item.priority),
        ("Attempts", item.attempt_count),
        ("With execution", _execution(item.leased_execution_id)),
        ("Lease ends", markup.when(item.lease_expires_at)),
        ("Not before", markup.when(item.not_before)),
        ("Came by", item.enqueue_source),
        (
            "Asked for by",
            markup.row_link("identity_identity", identity.pk, identity.login) if identity else markup.EMPTY,
        ),
        ("From execution", _execution(item.requested_by_execution_id)),
        ("Created", markup.when(item.created)),
        ("Updated", markup.when(item.updated)),
    ]
