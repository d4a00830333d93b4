"""What an execution demands of a worker, as a row shared by all that demand the same."""

import hashlib
import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import transaction

from apps.actions.models import Action
from apps.actions.policies.applying import Applied, PolicySet, current_policies
from apps.actions.policies.groups import group_key, names_in
from apps.core.cipher import CannotDecrypt
from apps.core.schemas import fill_defaults, secret_names
from apps.executions.engines import engine_of_action
from apps.executions.models import Demand, Execution
from apps.executions.parameters import parameters_of
from apps.executions.secrets import real_config
from apps.workers.models import Runtime

logger = logging.getLogger(__name__)

_ids: dict[str, int] = {}  # key -> id of a committed row; demands are never deleted
_MOST_REMEMBERED = 10_000


def requirements_of(
    action: Action | None, execution: Execution, *, policies: PolicySet | None = None, config: Any = None
) -> dict[str, Any]:
    """
    Return what the action, and the request in its place, demand; see ``apps.workers.fitness`` for the form.

    ``{"engine": name}``: no worker, that engine. Where policies limit the action, also ``action``, its ref, and
    ``policies``, the groups it is in: so each group is a line of its own, and one that is full is a demand that
    dispatch need not look into. ``config``: with its real values, when the caller has it at hand.
    """
    applied = (policies or current_policies()).applying_to(execution.action_ref)
    if not applied:
        return placement_of(action, execution)
    return {
        **placement_of(action, execution),
        "action": execution.action_ref,
        "policies": memberships(applied, action, execution, config),
    }


def memberships(
    applied: Sequence[Applied], action: Action | None, execution: Execution, config: Any = None
) -> list[list[Any]]:
    """Return [policy id, key of its group, kinds of limit] for each policy that limits the execution, by id."""
    keys: dict[tuple[str, ...], str] = {(): "{}"}
    values: dict[str, Any] | None = None
    schema = action.param_schema if action is not None else None
    for one in applied:
        if one.limit.parameters not in keys:
            if values is None:
                real = config if config is not None else _readable_config(execution)
                values = fill_defaults(schema, parameters_of(real, schema))
            keys[one.limit.parameters] = group_key(one.limit.parameters, values, secret_names(schema))
    return [[one.limit.id, keys[one.limit.parameters], one.kinds] for one in applied]


def _readable_config(execution: Execution) -> Any:
    try:
        return real_config(execution)
    except CannotDecrypt:  # its run fails for the same reason; until then it is in a group of its own kind
        logger.warning("The secret parameters of execution %s cannot be read", execution.pk)
        return execution.config


def is_current(requirements: dict[str, Any], policies: PolicySet, action_ref: str | None = None) -> bool:
    """
    Return whether the policies of a demand are those that limit its action now; the values in the keys never change.

    A demand without policies does not know its action: ``action_ref`` is that of an execution in its line.
    """
    ref = requirements.get("action", action_ref)
    applied = policies.applying_to(ref) if ref is not None else ()
    stored = requirements.get("policies", ())
    return len(stored) == len(applied) and all(
        pk == one.limit.id and kinds == one.kinds and tuple(names_in(key)) == one.limit.parameters
        for (pk, key, kinds), one in zip(stored, applied, strict=True)
    )


def placement_of(action: Action | None, execution: Execution) -> dict[str, Any]:
    """Return the part of the requirements that is about workers or engines."""
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
        **_required_runtimes(action),
        "selector": chosen("worker_selector", {}),
        "tolerations": chosen("worker_tolerations", []),
        "affinity": chosen("worker_affinity", {}),
    }


def _required_runtimes(action: Action | None) -> dict[str, Any]:
    required = (action.required_worker_runtimes or {}) if action is not None else {}
    if not required:
        return {"required": {}}
    runtimes = list(Runtime.objects.all())
    names = {
        name: sorted({name.lower()}.union(*(row.names for row in runtimes if name.lower() in {row.ref, *row.names})))
        for name in required
    }
    return {"required": required, "required_names": names}


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
    found = {pk: _demands.get(pk) for pk in demand_ids}  # taken out at once: another thread may forget them all
    missing = [pk for pk, known in found.items() if known is None]
    if missing:
        read = Demand.objects.in_bulk(missing)
        if len(_demands) > _MOST_REMEMBERED:
            _demands.clear()
        _demands.update(read)
        found.update(read)
    return {pk: demand for pk, demand in found.items() if demand is not None}


def _remember(key: str, row_id: int) -> None:
    if len(_ids) >= _MOST_REMEMBERED:
        _ids.clear()
    _ids[key] = row_id


def forget_demands() -> None:
    """Forget what is known in this process (the tables were emptied)."""
    _ids.clear()
    _demands.clear()
