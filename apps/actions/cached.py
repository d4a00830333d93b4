"""An action with its runtime and pack, kept in the process as long as none of the three rows changes."""

from typing import Any

from apps.actions.models import Action
from apps.actions.policies.applying import REVISION, notice
from apps.core import sql

_STAMPS = f"""
SELECT {REVISION}, action.id, action.updated, pack.updated, runtime.updated
FROM action JOIN pack ON pack.id = action.pack LEFT JOIN runtime ON runtime.id = action.runtime
WHERE action.{{column}} = %s
"""
_MOST_KEPT = 2000

_kept: dict[int, tuple[Any, Action]] = {}


def current_action(action_id: int) -> Action | None:
    """
    Return the action as it is now, with ``runtime`` and ``pack`` loaded; None when it is gone. For reading only.

    One narrow query when it is known: its row and the two others are wide, and every request and run needs them.
    """
    return _known_or_read(sql.fetch(_STAMPS.format(column="id"), [action_id]))


def current_action_of_ref(ref: str) -> Action | None:
    """Return the action with this ref as it is now, as ``current_action`` does."""
    return _known_or_read(sql.fetch(_STAMPS.format(column="ref"), [ref]))


def _known_or_read(found: list[tuple[Any, ...]]) -> Action | None:
    if not found:
        return None
    mark, action_id, *stamps = found[0]
    notice(mark)  # whoever asks for an action goes on to its policies
    known = _kept.get(action_id)
    if known is not None and known[0] == stamps:
        return known[1]
    action = Action.objects.select_related("runtime", "pack").filter(pk=action_id).first()
    if action is not None:
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        _kept[action_id] = (stamps, action)
    return action


def forget_actions() -> None:
    """Forget what this process keeps (the tables were emptied)."""
    _kept.clear()
