"""Store, list, read and replay events (api.md section 11)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import status as http
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import contains, envelopes, idempotency
from apps.core.api.contains import WindowPagination
from apps.core.api.grants import ANY_TOKEN, by_object, filtered
from apps.core.api.pagination import EventPagination
from apps.core.api.parsers import StrictJSONParser
from apps.core.api.views import AttuneViewSet, RetrieveMixin
from apps.core.errors import BadRequest
from apps.events import flood
from apps.events.api.filters import FILTER_PARAMETERS, event_condition
from apps.events.api.serializers import (
    SUMMARY_COLUMNS,
    EventBody,
    EventSerializer,
    EventSummarySerializer,
    ReplayBody,
)
from apps.events.arrivals import accept_event
from apps.events.models import Event
from apps.events.replay import AS_IT_WAS, replay_event
from apps.events.visibility import trigger_facts_of, visible_events

# People bring events in by webhooks and replays.
NOT_FOR_PEOPLE = frozenset({"sensor", "execution", "worker"})


class EventPages(WindowPagination, EventPagination):
    """Events, of which a search may have looked through the newest only."""


class EventParser(StrictJSONParser):
    """JSON no larger than an event may be."""

    def limit_bytes(self) -> int:
        return int(settings.EVENT_MAX_PAYLOAD_BYTES)


class EventViewSet(RetrieveMixin, AttuneViewSet[Event]):
    """Events: what has happened."""

    queryset = Event.objects.select_related("trigger").newest_first()
    visible_to = staticmethod(visible_events)
    lookup_field = "pk"
    noun = "Event"
    serializer_class = EventSerializer
    serializer_classes: ClassVar = {"list": EventSummarySerializer, "create": EventBody, "replay": ReplayBody}
    pagination_class = EventPages
    parser_classes = (EventParser,)
    grants: ClassVar = {
        "list": filtered("events:read"),
        "retrieve": filtered("events:read"),
        "create": ANY_TOKEN,
        "replay": by_object("triggers:update"),
    }
    token_types: ClassVar = {"create": NOT_FOR_PEOPLE}

    @property
    def keeps_own_answers(self) -> bool:  # type: ignore[override]  # here it depends on the operation
        """The key of a new event may stand in its body, and counts for its trigger."""
        return self.operation == "create"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.operation == "create":
            flood.admit(self.caller)  # ahead of the body: a flood must cost little

    @extend_schema(parameters=FILTER_PARAMETERS)
    def list(self, request: Request) -> Response:
        """List events, newest first."""
        rows = visible_events(self.caller).filter(event_condition(request.query_params))
        text = contains.text_to_find(request.query_params, "payload_contains")
        if text is not None:
            assert isinstance(self.paginator, EventPages)
            self.paginator.window = contains.WINDOW
        return self.listed(_summaries(contains.containing(rows, "payload", text)))

    @extend_schema(request=EventBody, responses={201: EventSerializer})
    def create(self, request: Request) -> HttpResponseBase:
        """Store an event and have its rules decided."""
        body = self.validated(EventBody)
        key = _key_of(request, body)
        if key is None:
            return self._stored(body)
        scope = f"event {body['trigger_ref']} {self.caller.subject}"
        return idempotency.answer_once(scope, key, _content_hash(body), lambda: self._stored(body, key))

    def _stored(self, body: Mapping[str, Any], key: str | None = None) -> Response:
        event = accept_event(self.caller, body, idempotency_key=key)
        return envelopes.single(self.shown(event), status=http.HTTP_201_CREATED)

    @extend_schema(request=ReplayBody, responses={201: EventSerializer})
    @route(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Send a stored event once more, as a new one; a body may be absent."""
        old = self.get_object()
        self.authorize(trigger_facts_of(old))
        body = self.validated(ReplayBody)
        new = replay_event(
            old,
            by=self.caller.login,
            rule_ref=body.get("rule_ref"),
            payload=body.get("payload", AS_IT_WAS),
            reason=body.get("reason", ""),
        )
        return envelopes.created(self.shown(new), f"Event {old.pk} was sent again as {new.pk}")


def _summaries(rows: "QuerySet[Event]") -> "QuerySet[Any]":
    """Return what summaries show; payloads are not read."""
    has_payload = ExpressionWrapper(Q(payload__isnull=False), output_field=BooleanField())
    summaries: QuerySet[Any] = rows.annotate(has_payload=has_payload).values(*SUMMARY_COLUMNS)
    return summaries


def _key_of(request: Request, body: Mapping[str, Any]) -> str | None:
    """Return the idempotency key, of header or body. Raises BadRequest for two different ones."""
    in_header, in_body = idempotency.key_of(request), body.get("idempotency_key")
    if in_header is not None and in_body is not None and in_header != in_body:
        raise BadRequest("Idempotency-Key and idempotency_key differ")
    return in_header if in_header is not None else in_body


def _content_hash(body: Mapping[str, Any]) -> str:
    """Return the hash of what makes two events the same: payload, config and the rule they name."""
    content = [body.get(name) for name in ("payload", "config", "trigger_instance_id", "rule_ref")]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
