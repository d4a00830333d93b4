"""The bodies of requests about executions (api.md 13)."""

import json
from datetime import datetime, timedelta
from typing import Any, Final

from rest_framework import serializers

from apps.actions.models import ArtifactRetentionPolicy
from apps.core import clock
from apps.core.api.fields import Body, Boolean, Integer, JSONObject, Moment, Patch, Text, TextList, TextMap
from apps.core.errors import BadRequest, ValidationFailed
from apps.core.markers import MARKER_KEY
from apps.executions.states import Status

MOST_IDS: Final = 1000
DEFAULT_CANCELLED_AT_ONCE: Final = 1000
MOST_CANCELLED_AT_ONCE: Final = 10_000
_LONGEST_DELAY_SECONDS = 2_592_000
_LONGEST_TIMEOUT_SECONDS = 604_800

ALL_OR_FAILED = ["all", "failed"]  # what of an earlier run is done again


class AnyValue(serializers.JSONField):
    """Any JSON value, kept as it is; what is wrong with it is said elsewhere."""


def _priority() -> Integer:
    return Integer(min_value=-100, max_value=100, required=False)


def _timeout(**kwargs: Any) -> Integer:
    return Integer(min_value=1, max_value=_LONGEST_TIMEOUT_SECONDS, required=False, **kwargs)


def _delay() -> Integer:
    return Integer(
        min_value=0,
        max_value=_LONGEST_DELAY_SECONDS,
        required=False,
        allow_null=True,
        help_text="Seconds from now; instead of not_before.",
    )


class _Placement(Body):
    """Where it may run, and with which rights and variables; absent: as the action, or the old attempt, says."""

    env_vars = TextMap(required=False, allow_null=True)
    permission_set_refs = TextList(required=False, allow_null=True)
    worker_selector = AnyValue(required=False, allow_null=True, help_text="{label: value}")
    worker_tolerations = AnyValue(required=False, allow_null=True, help_text="[{key, operator, value, effect}]")
    worker_affinity = AnyValue(
        required=False, allow_null=True, help_text="{required: [], preferred: [], anti_affinity: []}"
    )
    not_before = Moment(required=False, allow_null=True)
    delay_seconds = _delay()


class ExecuteBody(_Placement):
    """A request to run an action."""

    action_ref = Text(max_length=255)
    parameters = JSONObject(required=False, allow_null=True)
    artifact_retention_policy = serializers.ChoiceField(
        choices=ArtifactRetentionPolicy.choices, required=False, allow_null=True
    )
    artifact_retention_limit = Integer(required=False, allow_null=True, max_value=2**31 - 1)
    priority = Integer(min_value=-100, max_value=100, required=False, allow_null=True)
    expires_at = Moment(required=False, allow_null=True, help_text="Not started by then: timeout.")
    timeout_seconds = _timeout(allow_null=True)
    validate = Boolean(required=False, default=False, help_text="Check the parameters against the action's schema.")  # type: ignore[assignment]  # a field, not the attribute


class RetryBody(_Placement):
    """What a retry does differently; everything may be left out."""

    parameters = JSONObject(required=False, allow_null=True)
    priority = _priority()
    timeout_seconds = _timeout()
    force = Boolean(required=False, default=False, help_text="Also when it has completed.")
    reason = Text(required=False, allow_blank=True, default="")
    mode = serializers.ChoiceField(choices=ALL_OR_FAILED, required=False, default="all")


class ExecutionUpdateBody(Body):
    """What of an execution can be changed; all but ``pinned`` only while it is requested."""

    priority = _priority()
    not_before = Patch(Moment())
    expires_at = Patch(Moment())
    pinned = Boolean(required=False)


class ForceCloseBody(Body):
    """How a forced end is recorded."""

    status = serializers.ChoiceField(
        choices=[Status.ABANDONED, Status.FAILED, Status.CANCELLED], required=False, default=Status.ABANDONED
    )
    reason = Text(required=False, allow_blank=True, allow_null=True, default="")


class BulkCancelBody(Body):
    """Which executions to cancel: exactly one of ``ids`` and ``filter``."""

    ids = serializers.ListField(child=Integer(), required=False, allow_null=True, min_length=1, max_length=MOST_IDS)
    filter = JSONObject(required=False, allow_null=True, help_text="The names of the list's filters.")
    limit = Integer(required=False, min_value=1, default=DEFAULT_CANCELLED_AT_ONCE)
    dry_run = Boolean(required=False, default=False)
    reason = Text(required=False, allow_blank=True, allow_null=True, default="")


def start_time(body: dict[str, Any]) -> datetime | None:
    """Return the earliest start that a body asks for. Raises BadRequest when it names two."""
    not_before, delay_seconds = body.get("not_before"), body.get("delay_seconds")
    if delay_seconds is None:
        return not_before
    if not_before is not None:
        raise BadRequest("Give not_before or delay_seconds, not both")
    return clock.now() + timedelta(seconds=delay_seconds) if delay_seconds else None


def refuse_markers(value: Any, field: str = "parameters") -> None:
    """Raise ValidationFailed when a redaction marker is among the values: it stands for nothing here."""
    for path in _marker_paths(value, field):
        raise ValidationFailed(
            details=[{"field": path, "message": "A redaction marker is no value: give the secret itself."}]
        )


def _marker_paths(value: Any, path: str) -> Any:
    # A cheap look first: parameters may be megabytes, markers are rare.
    if MARKER_KEY not in json.dumps(value):
        return
    stack = [(value, path)]
    while stack:
        found, where = stack.pop()
        match found:
            case dict():
                if MARKER_KEY in found:
                    yield where
                stack.extend((inner, f"{where}.{key}") for key, inner in found.items())
            case list():
                stack.extend((inner, f"{where}[{index}]") for index, inner in enumerate(found))
