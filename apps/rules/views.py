"""Rules and events as the evaluator sees them; rules are kept in the process as long as no row they need changes."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from apps.core import sql
from apps.core.cipher import CannotDecrypt
from apps.core.markers import holds_marker
from apps.events.models import Event
from apps.events.secrets import real_payload
from apps.packs.models import Pack
from apps.packs.secrets import real_config, secret_settings
from apps.rules.judging import EventView, RuleView
from apps.rules.models import Rule
from apps.rules.secrets import real_params
from apps.rules.windows import Windows

logger = logging.getLogger(__name__)

# Whatever may change how a rule is decided: its own row and those it refers to.
_STAMPS = """
SELECT rule.id, rule.updated, rule.action, rule."trigger", rule.owner_identity, action.updated, pack.updated,
       action_pack.updated, runtime.updated
FROM rule JOIN pack ON pack.id = rule.pack LEFT JOIN action ON action.id = rule.action
LEFT JOIN pack action_pack ON action_pack.id = action.pack LEFT JOIN runtime ON runtime.id = action.runtime
WHERE {}
"""
_OF_TRIGGER = _STAMPS.format("rule.trigger_ref = %s AND rule.enabled ORDER BY rule.ref")
_OF_ID = _STAMPS.format("rule.id = %s")
_MOST_KEPT = 5000


@dataclass(frozen=True, kw_only=True)
class CurrentRule:
    """A rule as it is now. ``rule`` has its pack, owner and action (with runtime) loaded; for reading only."""

    rule: Rule
    view: RuleView


_kept: dict[int, tuple[tuple[Any, ...], CurrentRule]] = {}


def current_rules(trigger_ref: str) -> list[CurrentRule]:
    """Return the enabled rules of a trigger, in order of ref. One narrow query when they are known."""
    return _known_or_read(sql.fetch(_held(_OF_TRIGGER), [trigger_ref]))


def current_rule(rule_id: int | None) -> CurrentRule | None:
    """Return one rule, enabled or not; None when it is gone."""
    return next(iter(_known_or_read(sql.fetch(_held(_OF_ID), [rule_id]))), None)


def _held(text: str) -> str:
    """
    Keep the rules from being deleted until this transaction ends; they may be changed.

    PostgreSQL looks at foreign keys at the very end and would then refuse the event for the sake of a rule that was
    deleted meanwhile. It takes this lock there in any case.
    """
    return f"{text} FOR KEY SHARE OF rule" if connection.vendor == "postgresql" else text


def forget_rules() -> None:
    """Forget what this process keeps (the tables were emptied)."""
    _kept.clear()


def _known_or_read(stamps: list[tuple[Any, ...]]) -> list[CurrentRule]:
    found = {row[0]: _known(row) for row in stamps}  # taken out at once: another thread may forget them all
    unknown = [rule_id for rule_id, known in found.items() if known is None]
    if unknown:
        read = _read(unknown)
        for row in stamps:
            if row[0] in read:
                _keep(row, read[row[0]])
        found.update(read)
    return [current for current in found.values() if current is not None]  # None: deleted between the two queries


def _known(stamps: tuple[Any, ...]) -> CurrentRule | None:
    kept = _kept.get(stamps[0])
    return kept[1] if kept is not None and kept[0] == stamps else None


def _keep(stamps: tuple[Any, ...], current: CurrentRule) -> None:
    if len(_kept) >= _MOST_KEPT:
        _kept.clear()
    _kept[stamps[0]] = (stamps, current)


def _read(ids: list[int]) -> dict[int, CurrentRule]:
    rules = Rule.objects.select_related("pack", "owner_identity", "action__runtime", "action__pack")
    return {rule.pk: CurrentRule(rule=rule, view=view_of_rule(rule)) for rule in rules.filter(pk__in=ids)}


def view_of_rule(rule: Rule, **drafts: Any) -> RuleView:
    """Return what the evaluator needs of a rule, stored or not; ``drafts`` replace fields of the view."""
    action, pack = rule.action, rule.pack
    view = {
        "id": rule.pk,
        "ref": rule.ref,
        "conditions": rule.conditions,
        "action_params": real_params(rule),
        "windows": Windows(dedupe=rule.dedupe, aggregate=rule.aggregate, throttle=rule.throttle),
        "param_schema": action.param_schema if action is not None else None,
        "strict": action.strict_parameters if action is not None else False,
        "action_ref": rule.action_ref,
        "pack_config": _config_of(pack),
        "secret_config": secret_settings(pack),
    }
    return RuleView(**{**view, **drafts})


def _config_of(pack: Pack) -> Any:
    """Return the settings of a pack; those whose secrets cannot be decrypted are missing."""
    try:
        return real_config(pack)
    except CannotDecrypt as error:
        logger.error("Secret settings of pack %s cannot be decrypted. %s", pack.ref, error)
        return {name: value for name, value in pack.config.items() if not holds_marker(value)}


def view_of_event(event: Event) -> EventView:
    """Return what the evaluator sees of a stored event."""
    return EventView(
        id=event.pk,
        trigger_id=event.trigger_id,
        trigger_ref=event.trigger_ref,
        payload=real_payload(event),
        config=event.config,
        source_ref=event.source_ref,
        created=event.created,
        out_schema=event.trigger.out_schema if event.trigger is not None else None,
    )


def payloads_of(event_ids: Sequence[int]) -> list[Any]:
    """Return the payloads of stored events, in the order of their ids."""
    found = Event.objects.filter(pk__in=event_ids).order_by("pk")
    return list(found.values_list("payload", flat=True))
