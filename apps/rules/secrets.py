"""
Secrets of rules and enforcements (auth.md section 10): rows hold markers, the values are kept encrypted apart.

In a rule's ``action_params`` a secret is what stands literally where the action's schema says so; a template only says
where one comes from.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.cipher import CannotDecrypt
from apps.core.errors import ConflictError, Detail, ValidationFailed
from apps.core.markers import Path, holds_marker, is_marker, marked, path_of, restored
from apps.core.schemas import secret_paths
from apps.events.models import Event
from apps.events.secrets import real_payload
from apps.keys import secret_store
from apps.rules.models import Enforcement, Rule

logger = logging.getLogger(__name__)


class Unreadable(ConflictError):
    """A secret among the parameters of this rule cannot be decrypted; give all of them anew"""


@dataclass(frozen=True, kw_only=True)
class PutAway:
    """
    Parameters without their secrets; ``keep`` stores these once the rule has its row.

    ``changed``: the row may look the same and mean something else.
    """

    shown: Any
    values: Mapping[str, Any]
    changed: bool

    def keep(self, rule: Rule) -> None:
        if self.changed:
            secret_store.replace(secret_store.RULE_PARAMS, rule.pk, self.values, source_ref=rule.action_ref)


def put_away(params: Any, param_schema: Any, *, stored: Rule | None) -> PutAway:
    """
    Take the secrets out of the parameters of a rule that is about to be saved.

    A marker stands for what is kept at its place, which stays secret whatever the schema says now. Raises
    ValidationFailed for one that stands for nothing, Unreadable.
    """
    kept, is_readable = _kept_before(params, stored)
    places: list[Path] = [path for text in kept if (path := path_of(text, params)) and is_marker(_at(params, path))]
    real = _with_kept(params, kept)
    places += [path for path in secret_paths(param_schema, real) if not is_template(_at(real, path))]
    shown, values = marked(real, places)
    return PutAway(shown=shown, values=values, changed=not is_readable or values != kept)


def given_params(params: Any, *, stored: Rule | None) -> Any:
    """Return the parameters that somebody sent, with what their markers stand for. Raises like ``put_away``."""
    return _with_kept(params, _kept_before(params, stored)[0])


def _with_kept(params: Any, kept: Mapping[str, Any]) -> Any:
    real = restored(params, kept)
    if holds_marker(real):
        message = "A marker stands where nothing is kept that it could stand for."
        raise ValidationFailed(details=[Detail(field="action_params", message=message)])
    return real


def real_params(rule: Rule) -> Any:
    """Return the parameters with their secrets; those that cannot be decrypted are null, which the log tells."""
    if not holds_marker(rule.action_params):
        return rule.action_params
    try:
        kept = secret_store.get(secret_store.RULE_PARAMS, rule.pk)
    except CannotDecrypt as error:
        logger.error("The secret parameters of rule %s cannot be decrypted. %s", rule.ref, error)
        kept = {}
    return _without_markers(restored(rule.action_params, kept))


def forget_rule(rule_id: int) -> None:
    """Delete the secrets of a rule that is deleted."""
    secret_store.forget(secret_store.RULE_PARAMS, [rule_id])


def is_template(value: Any) -> bool:
    """Whether a text says where a value comes from."""
    return isinstance(value, str) and "{{" in value and "}}" in value


def with_secret_values(enforcement: Enforcement) -> Enforcement:
    """Return the enforcement, read for showing only, with the values behind its markers."""
    if holds_marker(enforcement.config):
        values = secret_store.get(secret_store.ENFORCEMENT_CONFIG, enforcement.pk)
        enforcement.config = restored(enforcement.config, values)
    if enforcement.event is not None and holds_marker(enforcement.payload):
        event = Event.objects.filter(pk=enforcement.event).first()
        if event is not None:
            enforcement.payload = real_payload(event)
    return enforcement


def _kept_before(params: Any, stored: Rule | None) -> tuple[Mapping[str, Any], bool]:
    """Return what is kept, and whether it can be read; raises Unreadable only when a marker stands for some of it."""
    if stored is None:
        return {}, True
    try:
        return secret_store.get(secret_store.RULE_PARAMS, stored.pk), True
    except CannotDecrypt:
        if holds_marker(params):
            raise Unreadable from None
        return {}, False


def _at(document: Any, path: Path) -> Any:
    for step in path:
        document = document[step]  # the path was found in it
    return document


def _without_markers(value: Any) -> Any:
    match value:
        case dict():
            return None if is_marker(value) else {name: _without_markers(inner) for name, inner in value.items()}
        case list():
            return [_without_markers(inner) for inner in value]
        case _:
            return value
