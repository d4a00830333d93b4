"""What can be done with executions (api.md 13.7 to 13.9): cancel, force-close, retry; many at once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.grants import by_object
from apps.core.errors import BadRequest
from apps.executions import visibility
from apps.executions.api.base import ExecutionViews
from apps.executions.api.bodies import MOST_CANCELLED_AT_ONCE, BulkCancelBody, ForceCloseBody, RetryBody
from apps.executions.api.filters import parse_filter_object
from apps.executions.api.requests import retry_changes
from apps.executions.api.serializers import BulkCancelledSerializer, ExecutionSerializer
from apps.executions.errors import AlreadyFinished, ExecutionNotFound
from apps.executions.models import Execution
from apps.executions.services import (
    cancel_execution,
    dispatch_on_commit,
    force_close_execution,
    retry_execution,
    retry_failed_tasks,
)
from apps.executions.states import TERMINAL, Status
from apps.identity.callers import Caller
from apps.identity.grants import Facts

_DISPATCHED_EVERY = 100  # of those cancelled by one request; a pass costs about as much as a cancel


class VerbViewSet(ExecutionViews):
    """Verbs on executions."""

    grants: ClassVar = {
        "cancel": by_object("executions:cancel"),
        "cancel_many": by_object("executions:cancel"),
        "force_close": "executions:update",
        "retry": by_object("actions:execute"),
    }
    serializer_classes: ClassVar = {
        "cancel_many": BulkCancelBody,
        "force_close": ForceCloseBody,
        "retry": RetryBody,
    }

    @extend_schema(request=None, responses=ExecutionSerializer)
    def cancel(self, request: Request, pk: str) -> Response:
        """Cancel an execution; a body is ignored."""
        execution = self.existing()
        if not visibility.is_own(self.caller, execution):
            self.authorize(execution)
        cancelled = cancel_execution(execution.pk, by=self.caller.identity)
        return envelopes.single(self.shown(cancelled))

    @extend_schema(request=ForceCloseBody, responses=ExecutionSerializer)
    def force_close(self, request: Request, pk: str) -> Response:
        """End any unfinished execution at once in the database, whatever its worker does."""
        execution = self.existing()
        body = self.validated(ForceCloseBody)
        closed = force_close_execution(
            execution.pk, by=self.caller.identity, status=body["status"], reason=body["reason"] or ""
        )
        return envelopes.single(self.shown(closed), "Execution force-closed successfully")

    @extend_schema(request=RetryBody, responses={201: ExecutionSerializer})
    def retry(self, request: Request, pk: str) -> Response:
        """Run the same action again, with the same or other parameters, as a new execution."""
        old = self.get_object()
        self.authorize(old.action or Facts(ref=old.action_ref, pack_ref=old.pack_ref))
        body = self.validated(RetryBody)
        changes = retry_changes(self.caller, old, body)
        retry = retry_failed_tasks if body["mode"] == "failed" else retry_execution
        attempt = retry(old.pk, by=self.caller.identity, changes=changes)
        return envelopes.created(self.shown(attempt), f"Execution {old.pk} is retried as {attempt.pk}")

    @extend_schema(operation_id="executions_cancel_many", request=BulkCancelBody, responses=BulkCancelledSerializer)
    def cancel_many(self, request: Request) -> Response:
        """Cancel executions by ids or by filter; with ``dry_run`` say what would happen."""
        body = self.validated(BulkCancelBody)
        ids, wanted = body.get("ids"), body.get("filter")
        if (ids is None) == (wanted is None):
            raise BadRequest("Give exactly one of ids and filter")
        limit = min(body["limit"], MOST_CANCELLED_AT_ONCE)
        bulk = _Bulk(caller=self.caller, dry_run=body["dry_run"], reason=body["reason"] or "")
        if ids is not None:
            chosen = list(dict.fromkeys(ids))
            bulk.cancel_ids(chosen[:limit])
            bulk.has_more = len(chosen) > limit
        else:
            rows = visibility.visible_to(self.caller).unfinished()
            found = list(_looked_at(parse_filter_object(wanted).apply(rows).newest_first())[: limit + 1])
            bulk.cancel_rows(found[:limit])
            bulk.has_more = len(found) > limit
        if bulk.cancelled or bulk.canceling:
            dispatch_on_commit()
        return envelopes.single(bulk.told())


def _looked_at(rows: Any) -> Any:
    return rows.only("status", "executor", "action_ref", "pack_ref")


@dataclass(kw_only=True)
class _Bulk:
    """A cancel of many: each row is checked and changed on its own."""

    caller: Caller
    dry_run: bool
    reason: str
    has_more: bool = False
    matched: int = 0
    cancelled: list[int] = field(default_factory=list)
    canceling: list[int] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)

    def cancel_ids(self, ids: list[int]) -> None:
        """Cancel the rows with these ids, as far as they are visible."""
        visible = _looked_at(visibility.visible_to(self.caller).filter(pk__in=ids))
        found = {row.pk: row for row in visible}
        for pk in ids:
            if pk not in found:
                self._skip(pk, None, "not_found")
        self.cancel_rows(found[pk] for pk in ids if pk in found)

    def cancel_rows(self, rows: Iterable[Execution]) -> None:
        """Cancel rows that the caller may see."""
        rows = list(rows)
        allowed = {row.pk for row in rows if self.caller.allows("executions:cancel", row)}
        others = [row.pk for row in rows if row.pk not in allowed]
        if others:
            allowed |= set(
                Execution.objects.filter(visibility.own(self.caller), pk__in=others).values_list("pk", flat=True)
            )
        for row in rows:
            self.matched += 1
            if row.pk not in allowed:
                self._skip(row.pk, row.status, "forbidden")
            elif row.status in TERMINAL:
                self._skip(row.pk, row.status, "finished")
            elif self.dry_run:
                self._note(row.pk, _status_after(row))
            else:
                self._cancel(row)

    def _cancel(self, row: Execution) -> None:
        try:
            dispatch = self.matched % _DISPATCHED_EVERY == 0
            cancelled = cancel_execution(row.pk, by=self.caller.identity, reason=self.reason, dispatch=dispatch)
            self._note(row.pk, cancelled.status)
        except ExecutionNotFound:
            self._skip(row.pk, None, "not_found")
        except AlreadyFinished:
            status = Execution.objects.values_list("status", flat=True).get(pk=row.pk)
            if status == Status.CANCELLED:
                self._note(row.pk, status)  # it went with its parent, a row ahead
            else:
                self._skip(row.pk, status, "finished")

    def _note(self, pk: int, status: str) -> None:
        (self.cancelled if status == Status.CANCELLED else self.canceling).append(pk)

    def _skip(self, pk: int, status: str | None, reason: str) -> None:
        self.skipped.append({"id": pk, "status": status, "reason": reason})

    def told(self) -> dict[str, Any]:
        return {
            "matched": self.matched,
            "cancelled": self.cancelled,
            "canceling": self.canceling,
            "skipped": self.skipped,
            "has_more": self.has_more,
            "dry_run": self.dry_run,
        }


def _status_after(row: Execution) -> Status:
    return Status.CANCELING if row.status in (Status.RUNNING, Status.CANCELING) else Status.CANCELLED
