"""Try a rule on one event; nothing is stored and nothing runs."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from apps.core import clock
from apps.core.errors import BadRequest, NotFound, UnprocessableEntity
from apps.core.schemas import violations
from apps.events.models import Event
from apps.events.secrets import real_payload
from apps.rules.drafts import Draft
from apps.rules.judging import EventView, Judgement, judge
from apps.rules.secrets import is_template


def stored_event(draft: Draft, event_id: int) -> EventView:
    """Return a stored event as the rule would see it. Raises NotFound; BadRequest for an event of another trigger."""
    event = Event.objects.filter(pk=event_id).first()
    if event is None:
        raise NotFound(f"Event with ID {event_id} not found")
    if event.trigger_ref != draft.trigger_ref:
        raise BadRequest(f"Event {event_id} is of trigger '{event.trigger_ref}', not '{draft.trigger_ref}'")
    return EventView(
        id=event.pk,
        trigger_id=event.trigger_id,
        trigger_ref=event.trigger_ref,
        payload=real_payload(event),
        config=event.config,
        source_ref=event.source_ref,
        created=event.created,
        out_schema=draft.trigger.out_schema if draft.trigger is not None else None,
    )


def imagined_event(draft: Draft, payload: Any, config: Any) -> EventView:
    """Return an event with this payload that happens now."""
    return EventView(
        id=None,
        trigger_id=draft.trigger.pk if draft.trigger is not None else None,
        trigger_ref=draft.trigger_ref,
        payload=payload,
        config=config,
        source_ref=None,
        created=clock.now(),
        out_schema=draft.trigger.out_schema if draft.trigger is not None else None,
    )


def try_rule(draft: Draft, event: EventView) -> Judgement:
    """
    Return what the rule would make of the event, as if rule and trigger were enabled and nothing held it back.

    The warnings about parameters name violations of the action's schema as well.
    """
    judgement = judge(draft.view, event, windows=None, at=clock.now())
    if not judgement.matched:
        return judgement
    return replace(judgement, params_warnings=[*judgement.params_warnings, *_violations(draft, judgement)])


def _violations(draft: Draft, judgement: Judgement) -> Iterator[dict[str, Any]]:
    try:
        found = violations(draft.view.param_schema, judgement.params)
    except UnprocessableEntity as error:
        yield {"path": "", "template": "", "error": error.message}
        return
    for violation in found:
        template = _written_at(draft.view.action_params, violation.field)
        yield {"path": violation.field, "template": template, "error": violation.message}


def _written_at(params: Any, path: str) -> str:
    """Return the template that the rule has at this path, "" when it has none there."""
    for name in path.split("."):
        if isinstance(params, list):
            params = params[int(name)] if name.isdecimal() and int(name) < len(params) else None
        else:
            params = params.get(name) if isinstance(params, Mapping) else None
    return params if is_template(params) else ""
