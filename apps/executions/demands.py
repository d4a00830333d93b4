"""What an execution demands of a worker, as a row shared by all that demand the same."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import transaction

from apps.actions.models import Action
from apps.executions.engines import engine_of_action
from apps.executions.models import Demand, Execution

_ids: dict[str, int] = {}  # key -> id of a committed row; demands are never deleted
_MOST_REMEMBERED = 10_000


def requirements_of(action: Action | None, execution: Execution) -> dict[str, Any]:
    """Return what the action, and the request in its place, demand; see ``apps.workers.fitness`` for the form. {"engine": name}: no worker, that engine."""
    engine = engine_of_action(action)
    if engine is not None:
        return {"engine": engine}
    runtime = action.runtime if action is not None else None

    def chosen(name: str, empty: Any) -> Any:
        own = getattr(execution, name)
        if own is None:
            own = getattr(action, name) if action is not None else None
        # Plain SQL may have written anything; the API refuses what has another form.
        return own if isinstance(own, type(empty)) else empty

    return {
        "runtime": sorted(runtime.names) if runtime is not None else None,
        "version": (action.runtime_version_constraint or None) if action is not None else None,
        "required": (action.required_worker_runtimes or {}) if action is not None else {},
        "selector": chosen("worker_selector", {}),
        "tolerations": chosen("worker_tolerations", []),
        "affinity": chosen("worker_affinity", {}),
    }


def demand_id(requirements: dict[str, Any]) -> int:
    """Return the id of the demand with these requirements, made when there is none. Call inside a transaction."""
    text = json.dumps(requirements, sort_keys=True, separators=(",", ":"))
    key = hashlib.sha256(text.encode()).hexdigest()
    known = _ids.get(key)
    if known is not None:
        return known
    found = Demand.objects.filter(key=key).values_list("id", flat=True).first()
    if found is None:
        # Two requests may make it at once: the second one waits for the first and finds its row.
        Demand.objects.bulk_create([Demand(key=key, requirements=requirements)], ignore_conflicts=True)
        found = Demand.objects.values_list("id", flat=True).get(key=key)
    transaction.on_commit(partial(_remember, key, found))
    return found


_demands: dict[int, Demand] = {}


def load_demands(demand_ids: Sequence[int]) -> dict[int, Demand]:
    """Return the demands by id; they never change, so each is read once."""
    missing = [pk for pk in demand_ids if pk not in _demands]
    if missing:
        if len(_demands) > _MOST_REMEMBERED:
            _demands.clear()
        _demands.update(Demand.objects.in_bulk(missing))
    return {pk: _demands[pk] for pk in demand_ids if pk in _demands}


def _remember(key: str, row_id: int) -> None:
    if len(_ids) >= _MOST_REMEMBERED:
        _ids.clear()
    _ids[key] = row_id


def forget_demands() -> None:
    """Forget what is known in this process (the tables were emptied)."""
    _ids.clear()
    _demands.clear()
