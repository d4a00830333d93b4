"""Whether a rule's parameters fit the schemas of its trigger and its action (events.md section 8)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from apps.actions.models import Action
from apps.core.errors import Detail, ValidationFailed
from apps.core.schemas import Violation, violations
from apps.events.models import Trigger

LARGEST_BYTES = 1024 * 1024  # of JSON: what is rendered from it may not be larger either
_MEASURED = ("conditions", "action_params", "trigger_params")


def check_sizes(fields: Mapping[str, Any]) -> None:
    """Raise ValidationFailed when one of a rule's JSON fields is larger than 1 MiB."""
    details: list[Detail] = [
        {"field": name, "message": f"Must not be larger than {LARGEST_BYTES // 1024} KiB of JSON."}
        for name in _MEASURED
        if name in fields and len(json.dumps(fields[name], ensure_ascii=False).encode()) > LARGEST_BYTES
    ]
    if details:
        raise ValidationFailed(details=details)


def trigger_violations(trigger: Trigger, trigger_params: Mapping[str, Any]) -> list[Violation]:
    """Return what is wrong with the settings of a trigger. Raises UnusableSchema."""
    return violations(trigger.param_schema, trigger_params, templates=True)


def action_violations(action: Action, action_params: Mapping[str, Any]) -> list[Violation]:
    """Return what is wrong with an action's parameters; a template may become anything. Raises UnusableSchema."""
    return violations(action.param_schema, action_params, templates=True)


def check_parameters(
    *,
    trigger: Trigger | None,
    trigger_params: Mapping[str, Any],
    action: Action | None,
    action_params: Mapping[str, Any],
) -> None:
    """Raise ValidationFailed with every violation of both schemas; None is not checked."""
    texts: list[str] = []
    details: list[Detail] = []
    if trigger is not None:
        found = trigger_violations(trigger, trigger_params)
        _note(texts, details, found, owner=f"trigger '{trigger.ref}'", field="trigger_params")
    if action is not None:
        found = action_violations(action, action_params)
        _note(texts, details, found, owner=f"action '{action.ref}'", field="action_params")
    if texts:
        raise ValidationFailed("; ".join(texts), details=details)


def violation_text(owner: str, found: Sequence[Violation]) -> str:
    """Return all violations as one sentence; ``owner`` as in ``trigger 'core.x'``."""
    return f"Invalid parameters for {owner}: {'; '.join(violation.message for violation in found)}"


def _note(texts: list[str], details: list[Detail], found: Sequence[Violation], *, owner: str, field: str) -> None:
    if found:
        texts.append(violation_text(owner, found))
        details.extend(
            {"field": ".".join(filter(None, (field, each.field))), "message": each.message} for each in found
        )
