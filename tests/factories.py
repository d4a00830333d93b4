"""Rows for tests: plain functions with valid defaults; a test names only what matters to it."""

import itertools
from datetime import timedelta
from functools import cache
from typing import Any

import yaml
from django.conf import settings
from django.utils import timezone

from apps.actions.models import Action, Policy
from apps.events.models import Event, Sensor, Trigger
from apps.executions.models import Execution
from apps.executions.requests import ExecutionRequest, request_execution
from apps.identity.models import ADMIN_SET_REF, Identity, PermissionAssignment, PermissionSet
from apps.keys.models import Key
from apps.keys.owners import Owner
from apps.keys.services import create_key
from apps.packs.models import Pack
from apps.queues.items import NewItem, enqueue
from apps.queues.models import WorkQueue, WorkQueueItem
from apps.rules.models import Rule
from apps.workers.models import Runtime, Worker, WorkerLease

_number = itertools.count(1)


def make_identity(**fields: Any) -> Identity:
    return Identity.objects.create(**{"login": f"person{next(_number)}", **fields})


def make_admin(**fields: Any) -> Identity:
    """An identity with the built-in set core.admin."""
    return make_holder(ADMIN_SET_REF, **fields)


@cache
def _built_in(ref: str) -> dict[str, Any]:
    name = ref.removeprefix("core.")
    document = yaml.safe_load((settings.CORE_PACK_DIR / "permission_sets" / f"{name}.yaml").read_text())
    return {"label": document["label"], "grants": document["grants"]}


def make_set(*grants: dict[str, Any], ref: str | None = None) -> PermissionSet:
    """A permission set with these grants; a built-in one when it is named and no grants are."""
    ref = ref or f"tests.set{next(_number)}"
    defaults = _built_in(ref) if ref.startswith("core.") and not grants else {"label": ref, "grants": list(grants)}
    permset, created = PermissionSet.objects.get_or_create(ref=ref, defaults=defaults)
    if not created and not permset.grants:
        permset.set(grants=defaults["grants"])
    return permset


def make_holder(*sets: str | dict[str, Any], **fields: Any) -> Identity:
    """An identity that holds these permission sets: refs of built-in ones, or grants."""
    identity = make_identity(**fields)
    refs = [each for each in sets if isinstance(each, str)]
    grants = [each for each in sets if not isinstance(each, str)]
    held = [make_set(ref=ref) for ref in refs] + ([make_set(*grants)] if grants else [])
    for permset in held:
        PermissionAssignment.objects.create(identity=identity, permset=permset)
    return identity


def grant(*names: str, **constraints: Any) -> dict[str, Any]:
    """A grant of ``resource:action``s, all of one resource, under these constraints."""
    resource = names[0].partition(":")[0]
    given: dict[str, Any] = {"resource": resource, "actions": [name.partition(":")[2] for name in names]}
    return {**given, "constraints": constraints} if constraints else given


def make_pack(**fields: Any) -> Pack:
    ref = fields.pop("ref", f"pack{next(_number)}")
    return Pack.objects.create(**{"ref": ref, "label": ref.title(), "version": "1.0.0", **fields})


def make_runtime(**fields: Any) -> Runtime:
    ref = fields.pop("ref", "core.shell")
    name = fields.pop("name", ref.split(".")[-1])
    return Runtime.objects.get_or_create(ref=ref, defaults={"name": name, "aliases": [name], **fields})[0]


def make_action(**fields: Any) -> Action:
    pack = fields.pop("pack", None) or make_pack()
    ref = fields.pop("ref", f"{pack.ref}.action{next(_number)}")
    defaults = {"ref": ref, "label": ref, "pack": pack, "pack_ref": pack.ref, "entrypoint": "true", "is_adhoc": True}
    if "runtime" not in fields:
        fields["runtime"] = make_runtime()
    return Action.objects.create(**{**defaults, **fields})


def make_policy(**fields: Any) -> Policy:
    """A policy for ``action``, ``pack``, or whatever else is named; one at a time unless a limit is named."""
    action, pack, ref = fields.pop("action", None), fields.pop("pack", None), f"tests.policy{next(_number)}"
    if not fields.keys() & {"threshold", "max_executions", "max_waiting"}:
        fields["threshold"] = 1
    scope = {"action": action, "action_ref": action and action.ref, "pack": pack, "pack_ref": pack and pack.ref}
    return Policy.objects.create(**{"ref": ref, "name": ref, **scope, **fields})


def make_worker(*, slots: int = 10, runtimes: tuple[str, ...] = ("shell", "python"), **fields: Any) -> Worker:
    """A worker that is there and idle; ``lease_seconds`` below 0 is one whose lease is over."""
    lease_seconds = fields.pop("lease_seconds", 30)
    capabilities = {"runtimes": list(runtimes), "max_concurrent_executions": slots, **fields.pop("capabilities", {})}
    now = timezone.now()
    worker = Worker.objects.create(
        **{"name": f"worker{next(_number)}", "capabilities": capabilities, "last_heartbeat": now, **fields}
    )
    WorkerLease.objects.create(worker=worker, renewed_at=now, expires_at=now + timedelta(seconds=lease_seconds))
    return worker


def make_request(**fields: Any) -> Execution:
    """An execution asked for the way everybody does; it waits, since nothing is dispatched inside a test."""
    action = fields.pop("action", None) or make_action()
    return request_execution(ExecutionRequest(action=action, **fields))


def make_execution(**fields: Any) -> Execution:
    """An execution written as a row, in whatever state a test wants."""
    action = fields.pop("action", None) or make_action()
    return Execution.objects.create(
        **{"action": action, "action_ref": action.ref, "pack_ref": action.pack_ref, **fields}
    )


def make_trigger(**fields: Any) -> Trigger:
    """``sensor``: the one that serves it."""
    pack = fields.pop("pack", None) or make_pack()
    ref = fields.pop("ref", f"{pack.ref}.trigger{next(_number)}")
    if sensor := fields.get("sensor"):
        fields["sensor_ref"] = sensor.ref
    return Trigger.objects.create(**{"ref": ref, "label": ref, "pack": pack, "pack_ref": pack.ref, **fields})


def make_sensor(*triggers: Trigger, **fields: Any) -> Sensor:
    """A sensor, and the triggers that it serves."""
    pack = fields.pop("pack", None) or make_pack()
    ref = fields.pop("ref", f"{pack.ref}.sensor{next(_number)}")
    runtime = fields.pop("runtime", None) or make_runtime(ref="core.python")
    defaults = {"ref": ref, "label": ref, "pack": pack, "pack_ref": pack.ref, "entrypoint": "sensor.py"}
    sensor = Sensor.objects.create(**{**defaults, "runtime": runtime, "runtime_ref": runtime.ref, **fields})
    for trigger in triggers:
        trigger.set(sensor=sensor, sensor_ref=sensor.ref)
    return sensor


def make_event(**fields: Any) -> Event:
    """An event written as a row: no rule has looked at it, and the sweep leaves it alone."""
    trigger = fields.pop("trigger", None) or make_trigger()
    return Event.objects.create(
        **{"trigger": trigger, "trigger_ref": trigger.ref, "processed_at": timezone.now(), **fields}
    )


def make_rule(**fields: Any) -> Rule:
    """A rule written as a row: neither its timer nor a sensor hears of it."""
    pack = fields.pop("pack", None) or make_pack()
    ref = fields.pop("ref", f"{pack.ref}.rule{next(_number)}")
    action = fields.pop("action", None) or make_action()
    trigger = fields.pop("trigger", None) or make_trigger()
    linked = {"action": action, "action_ref": action.ref, "trigger": trigger, "trigger_ref": trigger.ref}
    defaults = {"ref": ref, "label": ref, "pack": pack, "pack_ref": pack.ref, "conditions": {}, "is_adhoc": True}
    return Rule.objects.create(**{**defaults, **linked, **fields})


def make_key(owner: Any = None, **fields: Any) -> Key:
    """A key of the system, or of this identity, pack, action or sensor."""
    owner_type = type(owner).__name__.lower() if owner is not None else "system"
    named = {f"owner_{owner_type}": owner.pk} if owner is not None else {}
    number = next(_number)
    defaults = {"ref": f"key{number}", "name": f"key{number}", "value": "plain"}
    return create_key(owner=Owner(owner_type=owner_type, **named), **{**defaults, **fields})


def make_queue(**fields: Any) -> WorkQueue:
    """A queue written as a row."""
    action = fields.pop("action", None) or make_action()
    ref = fields.pop("ref", f"queue{next(_number)}")
    linked = {"dispatch_action": action, "dispatch_action_ref": action.ref}
    return WorkQueue.objects.create(**{"ref": ref, "label": ref, "is_adhoc": True, **linked, **fields})


def make_item(queue: WorkQueue, **fields: Any) -> WorkQueueItem:
    """An item enqueued the way everybody does; nothing is dispatched inside a test that rolls back."""
    return enqueue(queue, NewItem(**{"payload": {}, **fields})).item
