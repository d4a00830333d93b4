"""
Who gets in where: every operation of the API, for every role, on an object of one's own and on another's.

The operations, their grants and how they are applied come from the views; what the roles hold from the files of the core
pack. What to expect follows from the table of auth.md section 5, by the few sentences of ``expected`` below.
"""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction

from apps.core.api.grants import Classification, Mode, classified
from apps.events.models import Event
from apps.executions.models import Artifact
from apps.identity.checks import operations, routes
from apps.identity.models import Identity
from apps.identity.permissions import USUAL
from apps.inquiries.models import Inquiry
from apps.keys.models import Key
from apps.rules.models import Enforcement
from tests.clients import signed_in
from tests.factories import (
    _built_in,
    grant,
    make_action,
    make_event,
    make_execution,
    make_holder,
    make_identity,
    make_pack,
    make_rule,
    make_runtime,
    make_sensor,
    make_set,
    make_trigger,
    make_worker,
)

IN, DENIED, ABSENT = "in", 403, 404
# Holds everything on its own pack and nothing elsewhere.
OF_A_PACK = ("packs", "actions", "rules", "triggers", "executions", "enforcements", "artifacts")
ACTIONS_OF = {
    "packs": ["read", "create", "install", "configure", "delete"], "actions": ["read", "create", "update", "delete", "execute"],
    "executions": ["read", "update", "cancel"], "enforcements": ["read"],
}  # fmt: skip
OPERATOR = [
    grant(*(f"{name}:{action}" for action in ACTIONS_OF.get(name, ["read", "create", "update", "delete"])), pack_refs=["mine"])
    for name in OF_A_PACK
]  # fmt: skip
ROLES: dict[str, list[str | dict[str, Any]]] = {
    "stranger": [],
    "viewer": ["core.viewer"],
    "executor": ["core.executor"],
    "editor": ["core.editor"],
    "admin": ["core.admin"],
    "owner": ["core.owner"],
    "operator": [*OPERATOR],
}
SIDES = ("own", "another's")
# What answers from other rules than grants: sessions, events that only programs send, explanations, previews.
NOT_BY_GRANTS = {"ExplainView"}


@dataclass(frozen=True)
class Operation:
    """One method of one route."""

    method: str
    path: str
    view: type
    name: str
    classification: Classification

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def shape(self) -> str:
        """The path whatever its parameters are called."""
        return re.sub(r"<[^>]+>", "{}", self.path)

    @property
    def collection(self) -> str:
        """The word behind /api/v1: what the first parameter of the path names."""
        return re.sub(r"^/api/v1/(permissions/sets|[^/]+).*", r"\1", self.path)

    @property
    def names_object(self) -> bool:
        """Whether its first parameter names an object that the world below holds."""
        return re.match(rf"/api/v1/{self.collection}/(ref/)?<", self.path) is not None and self.collection in PLACES

    @property
    def is_sub_list(self) -> bool:
        """Whether it lists something else under the object (``/packs/{ref}/rules``)."""
        return bool(re.fullmatch(r"/api/v1/(packs|actions|triggers|sensors)/<[^>]+>/(actions|rules|triggers|sensors|runtimes)", self.path))  # fmt: skip


def all_operations() -> list[Operation]:
    found = []
    for path, callback in routes():
        view = getattr(callback, "cls", None)
        if view is None or not path.startswith("api/v1/"):
            continue
        for method, name in operations(callback):
            value = classified(view.grants[name])
            if value.mode not in (Mode.PUBLIC, Mode.ANY_TOKEN) and view.__name__ not in NOT_BY_GRANTS:
                found.append(Operation(method, f"/{path}", view, name, value))
    return found


class World:
    """One object of each kind for the caller, and one for somebody else."""

    def __init__(self, caller: Identity) -> None:
        self.caller, self.other = caller, make_identity(login="somebody-else")
        self.refs: dict[str, dict[str, str]] = {side: {} for side in SIDES}
        for side, person, name in (("own", caller, "mine"), ("another's", self.other, "theirs")):
            self._fill(self.refs[side], person, name)

    def _fill(self, refs: dict[str, str], person: Identity, name: str) -> None:
        pack = make_pack(ref=name, installed_by=person)
        action = make_action(pack=pack, ref=f"{name}.action")
        trigger = make_trigger(pack=pack, ref=f"{name}.trigger")
        rule = make_rule(pack=pack, ref=f"{name}.rule", action=action, trigger=trigger)
        event: Event = make_event(trigger=trigger)
        fired = Enforcement.objects.create(
            rule=rule, rule_ref=rule.ref, trigger_ref=trigger.ref, payload={}, event=event.pk
        )
        artifact = Artifact.objects.create(
            ref=f"{name}.artifact", scope="identity", owner=person.login, visibility="private", type="other"
        )
        key = Key.objects.create(ref=f"{name}.key", owner_type="identity", owner_identity=person, name=name, value="v")
        execution = make_execution(action=action, executor=person)
        refs.update(
            {
                "packs": pack.ref, "actions": action.ref, "triggers": trigger.ref, "rules": rule.ref, "keys": key.ref,
                "sensors": make_sensor(trigger, pack=pack, ref=f"{name}.sensor").ref,
                "runtimes": make_runtime(ref=f"{name}.runtime", pack_ref=name, pack=pack).ref,
                "workers": str(make_worker(name=name).pk), "events": str(event.pk), "enforcements": str(fired.pk),
                "executions": str(execution.pk), "inquiries": str(Inquiry.objects.create(execution=execution, prompt="?").pk),
                "artifacts": str(artifact.pk), "artifacts/ref": artifact.ref, "identities": str(person.pk),
                "permissions/sets": str(make_set(ref=f"{name}.set").pk),
            }
        )  # fmt: skip

    def path(self, operation: Operation, side: str) -> str:
        place = f"{operation.collection}/ref" if "/ref/<" in operation.path else operation.collection
        first = self.refs[side].get(place, "1")
        path = re.sub(r"<[^>]+>", first, operation.path, count=1).replace("<str:stream>", "stdout")
        return re.sub(r"<[^>]+>", "1", path)


PLACES = {"packs", "actions", "triggers", "rules", "keys", "sensors", "runtimes", "workers", "events", "enforcements",
          "executions", "inquiries", "artifacts", "identities", "permissions/sets"}  # fmt: skip


def holds(role: str, name: str, side: str | None) -> bool:
    """
    Whether the role holds ``resource:action``: on some object, or on the one of this side.

    Packs and keys of another identity take a constraint that speaks of it; private artifacts open to their owner; one's
    own executions are read and cancelled without a grant (auth.md 4.2, 5 and 8).
    """
    resource, _, action = name.partition(":")
    grants = [
        each for held in ROLES[role] for each in (_built_in(held)["grants"] if isinstance(held, str) else [held])
    ]
    fitting = [each for each in grants if each["resource"] == resource and action in each["actions"]]
    if side is None:
        return bool(fitting)
    if resource == "executions" and action in ("read", "cancel") and side == "own":
        return True
    if resource == "artifacts":
        return side == "own" or any(each.get("constraints") == {"owner": "any"} for each in fitting)
    if role == "operator":
        return bool(fitting) and side == "own"
    if resource == "packs" and side != "own":
        return any("constraints" in each for each in fitting)
    if resource == "keys" and side != "own":
        return False
    return bool(fitting)


def holds_any(role: str, names: tuple[str, ...], side: str | None) -> bool:
    return any(holds(role, name, side) for name in names)


def either(operation: Operation) -> tuple[str, ...]:
    """The grants of which the table takes any one."""
    match operation.classification.grant, operation.collection:
        case "actions:read", _:
            return ("actions:read", "actions:execute")
        case "events:read", _:
            return ("events:read", "triggers:read")
        case "enforcements:read", _ if operation.classification.mode is Mode.FILTERED:
            return ("enforcements:read", "rules:read")
        case grant, _:
            return (grant,)


PARENT = {"packs": ("packs:read",), "actions": ("actions:read", "actions:execute"), "triggers": ("triggers:read",),
          "sensors": ("triggers:read",), "events": ("events:read", "triggers:read"), "rules": ("rules:read",)}  # fmt: skip


def expected(operation: Operation, role: str, side: str) -> set[Any]:
    """What the table says: "in" is any answer that is neither 403 nor 404."""
    mode, names = operation.classification.mode, either(operation)
    if not operation.names_object:
        if mode is Mode.FILTERED:
            return {IN, ABSENT}  # lists are filtered; 404 where a parameter names nothing
        return {IN, ABSENT} if holds_any(role, names, None) else {DENIED, ABSENT}
    if mode is Mode.FILTERED:
        if operation.path.endswith("/inquiries"):  # of an execution that one may not see, either
            return {IN} if holds_any(role, names, side) or holds(role, "executions:read", side) else {ABSENT}
        if operation.collection == "executions":
            return {IN}  # what has versions from an execution, whether it is there or not
        parent = PARENT.get(operation.collection, names)
        seen = holds_any(role, names, side) and (
            operation.is_sub_list or names == parent or holds_any(role, parent, side)
        )
        return {IN} if seen or (operation.is_sub_list and holds_any(role, parent, side)) else {ABSENT}
    if mode is Mode.BY_OBJECT and operation.collection == "artifacts" and not holds(role, "artifacts:read", side):
        return {ABSENT} if "/ref/" not in operation.path else {DENIED}
    if operation.path.endswith("/queues") and holds_any(role, names, None):  # the world holds no queue to be seen
        return {IN} if holds_any(role, PARENT[operation.collection], side) else {ABSENT}
    return {IN} if holds_any(role, names, side) else {DENIED}


def answer_of(client: Any, operation: Operation, path: str) -> Any:
    """Ask, and take back what it did."""
    with transaction.atomic():
        send = getattr(client, operation.method)
        if operation.method == "get":
            answer = send(path)
        else:
            parsers = {parser.__name__ for parser in operation.view.parser_classes}
            answer = send(path, {}, format="multipart" if "StrictFormParser" in parsers else "json")
        transaction.set_rollback(True)
    status = answer.status_code
    if status == DENIED:
        assert "Insufficient permissions" in answer.json()["error"], (str(operation), answer.content)
    assert status != 500, (str(operation), answer.content)
    return status if status in (DENIED, ABSENT) else IN


# Where the table or api.md say something about the one operation that no general sentence does.
def special(operation: Operation, role: str, side: str) -> set[Any] | None:
    match operation.method, operation.shape:
        case "get", "/api/v1/history/{}":
            return {IN}  # asked with a type that there is not: 400
        case "post", "/api/v1/executions/{}/retry" | "/api/v1/executions/{}/rerun":
            # The action, and reading the old execution.
            reads = holds(role, "executions:read", side)
            return {IN} if reads and holds(role, "actions:execute", side) else {DENIED}
        case "post", "/api/v1/executions/cancel" | "/api/v1/executions" | "/api/v1/executions/execute":
            return {IN}  # asked with an empty body: 400 and 422, ahead of any object
        case "post", "/api/v1/artifacts/ref/{}/versions/upload":
            return {IN}  # asked without a file: 400
        case "get", "/api/v1/enforcements/{}/executions":
            return {IN}  # a list of executions, filtered as such
        case "post", "/api/v1/rules/{}/backtest":
            return {IN} if holds(role, "rules:read", side) and holds(role, "events:read", None) else {DENIED}
        case "post", "/api/v1/events/{}/replay":
            return {IN} if holds(role, "triggers:update", side) else {DENIED}
        case "post" | "delete", path if path.startswith("/api/v1/identities/{}/integration-tokens/"):
            return {ABSENT, DENIED}  # there is none
        case "delete", path if path.startswith("/api/v1/artifacts/{}/versions/"):
            return {ABSENT}
        case "get", path if path.startswith("/api/v1/artifacts/{}/") and path.endswith(("download", "latest", "{}")):  # fmt: skip
            return {ABSENT}
    return None


@pytest.mark.django_db
@pytest.mark.parametrize("role", ROLES)
def test_matrix(role):
    caller = make_holder(*ROLES[role], login="the-caller")
    world, client = World(caller), signed_in(caller)
    wrong = []
    for operation in all_operations():
        if "access" not in operation.view.token_types.get(operation.name, USUAL):  # type: ignore[attr-defined]
            continue
        for side in SIDES if operation.names_object else SIDES[:1]:
            wanted = special(operation, role, side) or expected(operation, role, side)
            found = answer_of(client, operation, world.path(operation, side))
            if found not in wanted:
                wrong.append(f"{operation} ({side}): {found}, not {wanted}")
    assert not wrong, "\n".join(["", *wrong])


def test_matrix_covers_the_api():
    found = all_operations()
    assert len(found) > 120
    assert {operation.collection for operation in found if operation.names_object} == PLACES
