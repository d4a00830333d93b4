"""Enqueue, list, change and delete the items of a queue."""

from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, query
from apps.core.api.grants import by_object, filtered
from apps.core.api.pagination import KeyPagination
from apps.core.api.views import AttuneViewSet
from apps.executions.models import Execution
from apps.queues import items
from apps.queues.api.serializers import ItemCreateBody, ItemSerializer, ItemUpdateBody
from apps.queues.errors import ItemNotFound, QueueNotFound
from apps.queues.models import ItemStatus, WorkQueue, WorkQueueItem
from apps.queues.visibility import visible_queues


class ItemViewSet(AttuneViewSet[WorkQueueItem]):
    """What waits in a queue, and what became of it."""

    queryset = WorkQueueItem.objects.order_by("-priority", "created", "id")
    noun = "Queue item"
    serializer_class = ItemSerializer
    serializer_classes: ClassVar = {"create": ItemCreateBody, "update": ItemUpdateBody}
    lookup_field = "pk"
    pagination_class = KeyPagination
    holds_secrets = frozenset({"create"})
    grants: ClassVar = {
        "list": filtered("queues:read"),
        "create": by_object("queues:create"),
        "update": by_object("queues:update"),
        "destroy": by_object("queues:delete"),
    }

    @extend_schema(
        parameters=[
            OpenApiParameter("item_key", str),
            OpenApiParameter("enqueue_source", str),
            OpenApiParameter(
                "statuses", str, description=f"one or several, also repeated: {', '.join(ItemStatus.values)}"
            ),
        ]
    )
    def list(self, request: Request, ref: str) -> Response:
        """List the items of a queue, the next ones first."""
        queue = visible_queues(self.caller).filter(ref=ref).only("pk").first()
        if queue is None:
            raise QueueNotFound(ref)
        params = request.query_params
        rows = self.get_queryset().filter(queue=queue.pk)
        for name in ("item_key", "enqueue_source"):
            if (wanted := query.text(params, name)) is not None:
                rows = rows.filter(**{name: wanted})
        given = {"statuses": ",".join(params.getlist("statuses"))}
        if statuses := query.choices(given, "statuses", ItemStatus.values):
            rows = rows.filter(status__in=statuses)
        return self.listed(rows, ItemSerializer)

    @extend_schema(request=ItemCreateBody, responses={201: ItemSerializer, 200: ItemSerializer})
    def create(self, request: Request, ref: str) -> Response:
        """Enqueue an item; 200 when the one that waits under its key was updated instead."""
        queue = self._queue(ref)
        new = items.NewItem(
            **self.validated(ItemCreateBody), identity=self.caller.identity, execution=self._execution_id()
        )
        done = items.enqueue(queue, new)
        if done.is_new:
            return envelopes.created(self.shown(done.item), "Queue item created successfully")
        return envelopes.single(self.shown(done.item), "Queue item updated successfully")

    def _execution_id(self) -> int | None:
        """Return the execution whose program asks; a token may have outlived its row."""
        asking = self.caller.execution_id
        return asking if asking is not None and Execution.objects.filter(pk=asking).exists() else None

    @extend_schema(request=ItemUpdateBody, responses=ItemSerializer)
    def update(self, request: Request, ref: str, pk: str) -> Response:
        """Change an item that waits."""
        item = self._item(ref, pk)
        item = items.update_item(item, **self.validated(ItemUpdateBody, partial=True))
        return envelopes.single(self.shown(item), "Queue item updated successfully")

    def destroy(self, request: Request, ref: str, pk: str) -> Response:
        """Delete an item that waits."""
        item = self._item(ref, pk)
        items.delete_item(item)
        return envelopes.done(f"Queue item {item.pk} deleted successfully")

    def _queue(self, ref: str) -> WorkQueue:
        queue = WorkQueue.objects.filter(ref=ref).first()
        if queue is None:
            raise QueueNotFound(ref)
        self.authorize(queue)
        return queue

    def _item(self, ref: str, pk: str) -> WorkQueueItem:
        queue, item_id = self._queue(ref), query.path_id(pk)
        item: WorkQueueItem | None = self.get_queryset().filter(queue=queue, pk=item_id).first()
        if item is None:
            raise ItemNotFound(item_id)
        return item
