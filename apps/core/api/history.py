"""History records over HTTP (api.md 21): the same columns, filters and order for every history table."""

import json
from datetime import UTC
from typing import Any

from django.db.models import Q, TextField
from django.db.models.functions import Cast
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from apps.core.api import query
from apps.core.api.query import Params
from apps.core.models import HistoryRow

OPERATIONS = ("INSERT", "UPDATE", "DELETE")
HISTORY_PARAMETERS = [
    OpenApiParameter("entity_id", OpenApiTypes.INT64),
    OpenApiParameter("entity_ref", str),
    OpenApiParameter("operation", str, enum=OPERATIONS),
    OpenApiParameter("changed_field", str),
    OpenApiParameter("since", OpenApiTypes.DATETIME, description="From this time on."),
    OpenApiParameter("until", OpenApiTypes.DATETIME, description="Before this time."),
]


def history_data(row: HistoryRow) -> dict[str, Any]:
    """Return a history record of the wire."""
    return {
        "time": row.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "operation": row.operation,
        "entity_id": row.entity_id,
        "entity_ref": row.entity_ref,
        "changed_fields": row.changed_fields or [],
        "old_values": row.old_values,
        "new_values": row.new_values,
        "actor": row.actor,
        "reason": row.reason,
        "epoch": row.epoch,
    }


class HistoryRecordSerializer(serializers.Serializer):
    """One change of a tracked row."""

    time = serializers.DateTimeField()
    operation = serializers.ChoiceField(choices=OPERATIONS)
    entity_id = serializers.IntegerField()
    entity_ref = serializers.CharField(allow_null=True)
    changed_fields = serializers.ListField(child=serializers.CharField())
    old_values = serializers.DictField(allow_null=True)
    new_values = serializers.DictField(allow_null=True)
    actor = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_null=True)
    epoch = serializers.IntegerField(allow_null=True)

    def to_representation(self, row: HistoryRow) -> dict[str, Any]:
        return history_data(row)


def history_matching(rows: Any, params: Params) -> Any:
    """Return the history rows that the query asks for."""
    condition = Q()
    if (entity_id := query.identifier(params, "entity_id")) is not None:
        condition &= Q(entity_id=entity_id)
    condition &= query.ref_filter("entity_ref", query.text(params, "entity_ref"))
    if operation := query.choice(params, "operation", OPERATIONS):
        condition &= Q(operation=operation)
    if changed_field := query.fragment(params, "changed_field"):
        condition &= Q(changed__contains=json.dumps(changed_field))
    if since := query.moment(params, "since"):
        condition &= Q(time__gte=since)
    if until := query.moment(params, "until"):
        condition &= Q(time__lt=until)
    return rows.alias(changed=Cast("changed_fields", TextField())).filter(condition)
