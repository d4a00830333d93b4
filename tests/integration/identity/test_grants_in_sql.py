"""The same answer twice: the condition of a list in SQL, and the check of each row."""

import random
from typing import Any

import pytest

from apps.actions import visibility as of_actions
from apps.actions.models import Action
from apps.events import visibility as of_events
from apps.events.models import Event, Trigger
from apps.executions import visibility as of_executions
from apps.executions.models import Artifact, Execution
from apps.identity.callers import Caller
from apps.identity.grants import condition, facts_of, narrowed
from apps.identity.grants.matching import holds
from apps.identity.models import Identity, PermissionAssignment
from apps.keys import visibility as of_keys
from apps.keys.models import Key
from apps.packs import visibility as of_packs
from apps.packs.models import Pack
from apps.rules import visibility as of_rules
from apps.rules.models import Enforcement, Rule
from tests.factories import (
    make_action,
    make_event,
    make_execution,
    make_identity,
    make_pack,
    make_rule,
    make_set,
    make_trigger,
)

ROUNDS = 60
PACKS = ["shop", "yard", "moor"]


@pytest.fixture
def world(db: Any) -> list[Identity]:
    """Rows of every kind that constraints can tell apart; returns the people."""
    dice = random.Random(4)
    people = [
        make_identity(login=login, attributes={"team": team}) for login, team in (("anna", "ops"), ("bob", "dev"))
    ]
    owners = [*people, None]
    for number, ref in enumerate(PACKS):
        make_pack(ref=ref, installed_by=owners[number], is_standard=False)
    make_pack(ref="base", installed_by=people[1], is_standard=True)
    packs = {pack.ref: pack for pack in Pack.objects.all()}
    actions = [make_action(ref=f"{ref}.a{number}", pack=packs[ref]) for ref in PACKS for number in range(2)]
    triggers = [make_trigger(ref=f"{ref}.t", pack=packs[ref]) for ref in PACKS]
    rules = [make_rule(ref=f"{ref}.r", pack=packs[ref], action=actions[0], trigger=triggers[0]) for ref in PACKS]
    executions: list[Execution] = []
    for _ in range(24):
        parent = dice.choice([*executions, None, None])
        executions.append(make_execution(action=dice.choice(actions), executor=dice.choice(owners), parent=parent))
    for trigger in triggers:
        make_event(trigger=trigger)
    for number, rule in enumerate([*rules, None]):
        ref = rule.ref if rule else "gone.r"
        Enforcement.objects.create(rule=rule, rule_ref=ref, trigger_ref="shop.t", payload={}, event=number + 1)
    names = {
        "system": ["", "shop"], "identity": ["anna", str(people[0].pk), "bob", str(people[1].pk), "nobody"],
        "pack": [*PACKS, "gone"], "action": [*(action.ref for action in actions), "gone.x"], "sensor": ["shop.s", "moor.s", "odd"],
    }  # fmt: skip
    for scope, refs in names.items():
        for owner in refs:
            for visibility in ("public", "private"):
                Artifact.objects.create(ref=f"{scope} {owner} {visibility}", scope=scope, owner=owner, visibility=visibility, type="other")  # fmt: skip
    for encrypted in (True, False):
        common: dict[str, Any] = {"encrypted": encrypted, "value": "v"}
        Key.objects.create(ref=f"system.{encrypted}".lower(), owner_type="system", name=f"{encrypted}", **common)
        for person in people:
            Key.objects.create(ref=f"{person.login}.{encrypted}".lower(), owner_type="identity", owner_identity=person, name=f"{encrypted}", **common)  # fmt: skip
        for pack in packs.values():
            Key.objects.create(ref=f"{pack.ref}.{encrypted}".lower(), owner_type="pack", owner_pack=pack, owner_pack_ref=pack.ref, name=f"{encrypted}", **common)  # fmt: skip
        for action in actions[:3]:
            Key.objects.create(ref=f"{action.ref}.{encrypted}".lower(), owner_type="action", owner_action=action.pk, owner_action_ref=action.ref, name=f"{encrypted}", **common)  # fmt: skip
    return people


# What is asked of each kind of row: (resource:action, model, columns, refs that occur).
KINDS: dict[str, tuple[Any, Any]] = {
    "packs:read": (Pack, of_packs.COLUMNS),
    "packs:delete": (Pack, of_packs.COLUMNS),
    "actions:read": (Action, of_actions.COLUMNS),
    "triggers:read": (Trigger, of_events.COLUMNS),
    "events:read": (Event, of_events.EVENT_COLUMNS),
    "rules:update": (Rule, of_rules.COLUMNS),
    "enforcements:read": (Enforcement, of_rules.ENFORCEMENT_COLUMNS),
    "executions:read": (Execution, of_executions.COLUMNS),
    "executions:cancel": (Execution, of_executions.COLUMNS),
    "artifacts:read": (Artifact, of_executions.ARTIFACT_COLUMNS),
    "artifacts:delete": (Artifact, of_executions.ARTIFACT_COLUMNS),
    "keys:read": (Key, of_keys.COLUMNS),
    "keys:decrypt": (Key, of_keys.COLUMNS),
}


def some_grants(dice: random.Random, name: str, model: Any) -> list[dict[str, Any]]:
    """Grants as somebody could write them, sensible and not."""
    resource, _, action = name.partition(":")
    refs = [getattr(row, "ref", None) or getattr(row, "action_ref", None) or getattr(row, "rule_ref", "x") for row in model.objects.all()]  # fmt: skip
    ids = list(model.objects.values_list("pk", flat=True))
    possible: dict[str, Any] = {
        "pack_refs": lambda: dice.sample([*PACKS, "base", "gone"], dice.randint(0, 2)),
        "refs": lambda: dice.sample(refs, min(len(refs), dice.randint(0, 4))),
        "ids": lambda: dice.sample([*ids, 0, 2**64], dice.randint(0, 3)),
        "owner": lambda: dice.choice(["self", "any", "none"]),
        "owner_types": lambda: dice.sample(["system", "identity", "pack", "action", "sensor"], dice.randint(0, 3)),
        "owner_refs": lambda: dice.sample([*PACKS, "anna", "bob", str(Identity.objects.get(login="bob").pk), "shop.a0", "moor.s"], 3),
        "visibility": lambda: dice.choice([["public"], ["private"], ["public", "private"], []]),
        "execution_scope": lambda: dice.choice(["self", "descendants", "any"]),
        "encrypted": lambda: dice.choice([True, False]),
        "attributes": lambda: dice.choice([{"team": "ops"}, {"team": "dev"}, {}]),
        "colour": lambda: "red",
    }  # fmt: skip
    grants = []
    for _ in range(dice.randint(0, 3)):
        chosen = dice.sample(sorted(possible), dice.choice([0, 1, 1, 1, 2]))
        given = {
            "resource": dice.choice([resource, resource, "rules"]),
            "actions": dice.choice([[action], ["read", action], ["update"]]),
        }
        grants.append({**given, "constraints": {constraint: possible[constraint]() for constraint in chosen}})
    return grants


def some_caller(dice: random.Random, grants: list[dict[str, Any]], people: list[Identity]) -> Caller:
    """Anna by her own token, or an execution that names a set of these grants."""
    anna, permset = people[0], make_set(*grants)
    if dice.random() < 0.6:
        PermissionAssignment.objects.create(identity=anna, permset=permset)
        return Caller(holder=anna, token_type="access", login="anna")
    execution = dice.choice(list(Execution.objects.all()))
    return Caller(
        holder=anna, token_type="execution", login="x", execution_id=execution.pk, permission_set_refs=(permset.ref,)
    )


@pytest.mark.parametrize("name", KINDS)
def test_condition_and_row_agree(world, name):
    model, columns = KINDS[name]
    dice = random.Random(name)
    seen_some, seen_less = False, False
    for _ in range(ROUNDS):
        world[0].assignments.all().delete()
        grants = some_grants(dice, name, model)
        caller = some_caller(dice, grants, world)
        rows = list(model.objects.all())
        by_row = {row.pk for row in rows if granted(caller, name, row)}
        by_sql = set(narrowed(model.objects.all(), condition(caller, name, columns)).values_list("pk", flat=True))
        assert by_sql == by_row, (grants, caller)
        seen_some |= bool(by_row)
        seen_less |= len(by_row) < len(rows)
    assert seen_some
    assert seen_less


def granted(caller: Caller, name: str, row: Any) -> bool:
    """What grants alone say; how objects open without one stands in ``visible_to``."""
    return any(holds(each, facts_of(row), caller) for each in caller.grants.giving(name))


@pytest.mark.parametrize("round_", range(40))
def test_visible_artifacts_and_rows_agree(world, round_):
    dice = random.Random(round_)
    grants = some_grants(dice, "artifacts:read", Artifact) + some_grants(dice, "packs:read", Pack)
    caller = some_caller(dice, grants, world)

    by_row = {row.pk for row in Artifact.objects.all() if caller.allows("artifacts:read", row)}

    assert set(of_executions.visible_artifacts(caller).values_list("pk", flat=True)) == by_row


@pytest.mark.parametrize("round_", range(40))
def test_visible_executions_and_rows_agree(world, round_):
    dice = random.Random(round_)
    caller = some_caller(dice, some_grants(dice, "executions:read", Execution), world)

    by_row = {row.pk for row in Execution.objects.all() if of_executions.may_read(caller, row)}

    assert set(of_executions.visible_to(caller).values_list("pk", flat=True)) == by_row


@pytest.mark.parametrize("round_", range(20))
def test_visible_events_and_rows_agree(world, round_):
    dice = random.Random(round_)
    grants = some_grants(dice, "events:read", Event) + some_grants(dice, "triggers:read", Trigger)
    caller = some_caller(dice, grants, world)

    by_row = {row.pk for row in Event.objects.all() if of_events.may_read_event(caller, row)}

    assert set(of_events.visible_events(caller).values_list("pk", flat=True)) == by_row
