"""Queues: how deep they are, what works on them, what comes next; and the form that enqueues."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminExpandableTextareaWidget, UnfoldAdminTextInputWidget

from apps.core import markup
from apps.core.admin import COUNT_LIMIT, MachineRows, as_time, linked_filter
from apps.core.errors import AttuneError
from apps.core.parameter_text import declared_parameters, read_json
from apps.core.row_verbs import RowsWithVerbs, RowVerb
from apps.identity.callers import Caller
from apps.identity.grants import condition, narrowed
from apps.queues import items, services, waiting
from apps.queues.items import Enqueued, NewItem
from apps.queues.models import ItemStatus, WorkQueue, WorkQueueDispatch, WorkQueueItem
from apps.queues.tuning import tuning_of
from apps.queues.visibility import COLUMNS

SHOWN_ITEMS = 10
SHOWN_DISPATCHES = 10
TONES = {"queued": "wait", "retry": "warn", "leased": "busy", "dispatched": "busy", "released": "warn"}


def _switch(name: str, value: bool) -> Any:
    return lambda queue, _request: services.update_queue(queue.pk, {name: value})


def _delete(queue: WorkQueue, _request: HttpRequest) -> bool:
    services.delete_queue(queue.pk)
    return True


VERBS = {
    "enable": RowVerb(
        label="Enable",
        done="is dispatched",
        offered=lambda queue: not queue.enabled,
        call=_switch("enabled", True),
    ),
    "disable": RowVerb(
        label="Disable",
        done="is not dispatched",
        offered=lambda queue: queue.enabled,
        call=_switch("enabled", False),
    ),
    "open": RowVerb(
        label="Take new items",
        done="takes new items",
        offered=lambda queue: not queue.accepting_new_items,
        call=_switch("accepting_new_items", True),
    ),
    "close": RowVerb(
        label="Refuse new items",
        done="takes no new items",
        offered=lambda queue: queue.accepting_new_items,
        call=_switch("accepting_new_items", False),
    ),
    "remove": RowVerb(
        label="Delete",
        done="is deleted",
        asks="Its items go with it, those that wait too. Executions under way end by themselves.",
        danger=True,
        offered=lambda queue: queue.is_adhoc,
        call=_delete,
    ),
}


class EnqueueForm(forms.Form):
    """What ``POST /queues/{ref}/items`` takes; the service checks it."""

    payload = forms.CharField(
        widget=UnfoldAdminExpandableTextareaWidget(attrs={"rows": 6}), help_text="Any JSON value.", initial="{}"
    )
    item_key = forms.CharField(
        required=False, max_length=255, widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="Optional. Where keys coalesce, the item that waits under it is changed instead.",
    )  # fmt: skip
    priority = forms.IntegerField(
        required=False, min_value=-(2**31) + 1, max_value=2**31 - 1, widget=UnfoldAdminTextInputWidget,
        help_text="Higher ones come first; nothing: as the queue says.",
    )  # fmt: skip
    metadata = forms.CharField(
        required=False, widget=UnfoldAdminExpandableTextareaWidget(attrs={"rows": 2}), help_text="A JSON object."
    )

    def clean_payload(self) -> Any:
        return self._json("payload")

    def clean_metadata(self) -> Any:
        value = self._json("metadata") if self.cleaned_data["metadata"].strip() else None
        if value is not None and not isinstance(value, dict):
            raise forms.ValidationError("Must be a JSON object.")
        return value

    def _json(self, name: str) -> Any:
        try:
            return read_json(self.cleaned_data[name])
        except ValueError as error:
            raise forms.ValidationError(f"Not JSON: {error}") from None

    def save(self, queue: WorkQueue, caller: Caller) -> Enqueued | None:
        """Enqueue it as this caller; None when it was refused, which the form then says."""
        given = {**self.cleaned_data, "item_key": self.cleaned_data["item_key"] or None}
        try:
            return items.enqueue(queue, NewItem(**given, source="console", identity=caller.identity))
        except AttuneError as error:
            self.add_error(None, error.message)
            return None


@admin.register(WorkQueue)
class QueueAdmin(RowsWithVerbs, MachineRows):
    needs = {
        "view": "queues:read", "enqueue": "queues:create", "remove": "queues:delete",
        **dict.fromkeys(("enable", "disable", "open", "close"), "queues:update"),
    }  # fmt: skip
    visible = staticmethod(lambda caller, rows: narrowed(rows, condition(caller, "queues:read", COLUMNS)))
    verbs = VERBS
    page_template = "admin/queues/workqueue/page.html"
    list_display = (
        "ref",
        "label",
        "state",
        "waiting",
        "active",
        "of_action",
        as_time("last_dispatch_at", "last started"),
    )
    list_filter = (
        "enabled",
        "accepting_new_items",
        "is_adhoc",
        "pack",
        linked_filter("dispatch_action_ref", "action"),
    )
    list_defer = ("item_schema", "action_params", "description")
    list_select_related = ("dispatch_action",)
    ordering = ("ref",)
    sortable_by = ("ref",)
    search_fields = ("ref", "label", "dispatch_action_ref")
    search_help_text = "Ref, label or action"

    def prepare(self, rows: Sequence[Any]) -> None:
        ids = [queue.pk for queue in rows]
        depths = waiting.depths(ids, up_to=COUNT_LIMIT + 1)
        counted = WorkQueueDispatch.objects.active().filter(queue__in=ids).values_list("queue").annotate(Count("pk"))
        active = dict(counted.order_by())
        for queue in rows:
            queue.depth, queue.active_count = depths.get(queue.pk, 0), active.get(queue.pk, 0)

    @admin.display(description="state")
    def state(self, queue: WorkQueue) -> SafeString:
        badges = [markup.badge("enabled" if queue.enabled else "disabled")]
        if not queue.accepting_new_items:
            badges.append(markup.badge("closed", tone="warn", title="takes no new items"))
        return markup.joined(badges)

    @admin.display(description="waiting")
    def waiting(self, queue: Any) -> str:
        return counted_text(queue.depth)

    @admin.display(description="running")
    def active(self, queue: Any) -> int:
        return int(queue.active_count)

    @admin.display(description="action")
    def of_action(self, queue: WorkQueue) -> SafeString:
        if queue.dispatch_action is None:
            return markup.joined((queue.dispatch_action_ref, markup.badge("deleted", tone="bad")))
        return markup.row_link("actions_action", queue.dispatch_action_id, queue.dispatch_action_ref)

    # --- The page -----------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        enqueue = path("<int:pk>/enqueue/", self.admin_site.admin_view(self.enqueue_view), name=self._name("enqueue"))
        return [enqueue, *super().get_urls()]

    def find(self, pk: int) -> WorkQueue | None:
        return WorkQueue.objects.select_related("pack", "dispatch_action", "owner_identity").filter(pk=pk).first()

    def page_context(self, row: WorkQueue, caller: Any) -> dict[str, Any]:
        tuning = tuning_of(row)
        return {
            "state": self.state(row),
            "counts": _counts(row),
            "warnings": _warnings(row, tuning.warnings),
            "enqueue": self.address("enqueue", row.pk) if caller.allows("queues:create", row) else None,
            "dispatches": _dispatches(row),
            "next_items": _next_items(row),
            "facts": _facts(row, tuning.concurrency, tuning.batch_size, self.of_action(row)),
            "payload_fields": declared_parameters(row.item_schema),
            "item_schema": markup.json_block(row.item_schema),
            "action_params": markup.json_block(_open_params(row)) if row.action_params else None,
            "config": markup.json_block(row.config) if row.config else None,
        }

    def after_verb(self, name: str, pk: int) -> str:
        return self.address("changelist") if name == "remove" else super().after_verb(name, pk)

    def enqueue_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The form that puts an item into the queue."""
        queue = self.found(request, pk)
        if queue is None:
            return self.gone(request, pk)
        self.guard(request, "enqueue", queue)
        form = EnqueueForm(request.POST if request.method == "POST" else None)
        if form.is_valid() and (done := form.save(queue, self.caller(request))) is not None:
            told = "was enqueued" if done.is_new else "was changed: it waits under this key"
            self.message_user(request, f"Item {done.item.pk} {told}.", messages.SUCCESS)
            return HttpResponseRedirect(str(markup.page_of("queues_workqueueitem", done.item.pk)))
        return self.page(
            request, "admin/queues/workqueue/enqueue.html", f"Enqueue into {queue.ref}",
            original=queue, form=form, back=self.address("change", pk),
        )  # fmt: skip


def counted_text(count: int) -> str:
    return str(count) if count <= COUNT_LIMIT else f"more than {COUNT_LIMIT}"


def _counts(queue: WorkQueue) -> list[dict[str, Any]]:
    """Return how many items there are of each status, counted no further than lists are."""
    rows = WorkQueueItem.objects.filter(queue=queue).order_by()
    counts = {status: rows.filter(status=status).values("pk")[: COUNT_LIMIT + 1].count() for status in ItemStatus}
    return [
        {
            "badge": item_badge(status),
            "count": counted_text(count),
            "url": markup.list_of("queues_workqueueitem", queue=queue.pk, status__exact=status.value),
        }
        for status, count in counts.items()
    ]


def item_badge(status: str) -> SafeString:
    return markup.badge(str(status), tone=TONES.get(status))


def _warnings(queue: WorkQueue, of_tuning: Sequence[str]) -> list[str]:
    gone = (
        [] if queue.dispatch_action else [f"The action {queue.dispatch_action_ref} was deleted: nothing is started."]
    )
    return [*gone, *of_tuning]


def _dispatches(queue: WorkQueue) -> list[dict[str, Any]]:
    rows = WorkQueueDispatch.objects.filter(queue=queue).select_related("execution").order_by("-pk")
    return [
        {
            "execution": markup.row_link("executions_execution", row.execution_id, f"#{row.execution_id}"),
            "status": item_badge(row.status),
            "of_execution": markup.badge(row.execution.status),
            "items": row.leased_item_count,
            "created": markup.when(row.created),
        }
        for row in rows.defer("execution__config", "execution__result")[:SHOWN_DISPATCHES]
    ]


def _next_items(queue: WorkQueue) -> list[dict[str, Any]]:
    ids = waiting.ready_ids(queue.pk, SHOWN_ITEMS)
    found = WorkQueueItem.objects.only("id", "item_key", "priority", "status", "created").in_bulk(ids)
    return [
        {
            "link": markup.row_link("queues_workqueueitem", item.pk, f"#{item.pk}"),
            "item_key": item.item_key or markup.EMPTY,
            "priority": item.priority,
            "status": item_badge(item.status),
            "created": markup.when(item.created),
        }
        for pk in ids
        if (item := found.get(pk)) is not None
    ]


def _open_params(queue: WorkQueue) -> Any:
    """Return the parameters without what the action calls secret: somebody may have written it there plainly."""
    action = queue.dispatch_action
    return markup.without_secrets(action.param_schema if action is not None else None, queue.action_params)


def _facts(queue: WorkQueue, concurrency: int, batch_size: int, action: SafeString) -> list[tuple[str, Any]]:
    owner = queue.owner_identity
    return [
        ("Action", action),
        ("Pack", markup.row_link("packs_pack", queue.pack_id, queue.pack_ref)),
        ("Concurrency", concurrency),
        ("Batches", f"of up to {batch_size}" if queue.batch_mode == "batch" else "no"),
        ("Keys that wait", queue.update_strategy if queue.allow_pending_update else "do not coalesce"),
        ("Default priority", queue.default_priority),
        ("Most that may wait", queue.max_depth or markup.EMPTY),
        ("Permission sets", markup.commas(queue.permission_set_refs or ())),
        ("On behalf of", markup.row_link("identity_identity", owner.pk, owner.login) if owner else markup.EMPTY),
        ("Last started", markup.when(queue.last_dispatch_at)),
        ("Made by hand", "yes" if queue.is_adhoc else "no"),
        ("Created", markup.when(queue.created)),
        ("Updated", markup.when(queue.updated)),
    ]
