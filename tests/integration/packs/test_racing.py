"""Packs that are brought, taken away and changed by several at once."""

from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from apps.actions.models import Action
from apps.core.errors import NotFound
from apps.events.models import Sensor, SensorNotice, Trigger
from apps.packs.models import Pack
from apps.packs.services import delete_pack, register_pack, rollback_pack, upload_pack
from apps.queues.models import WorkQueue
from apps.rules.models import Rule
from apps.workflows.models import WorkflowDefinition
from tests.clients import signed_in
from tests.factories import make_admin
from tests.integration.packs.conftest import packed
from tests.racing import together

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("core_pack", "packs_dir")]

ROUNDS = 12
_number = count(1)


def lab() -> dict[str, str]:
    """The files of a pack whose rows all have another label each time."""
    label = f"label: L{next(_number)}"
    return {
        "actions/a.yaml": f"{label}\nentry_point: x",
        "actions/w.yaml": f"{label}\nworkflow_file: workflows/w.workflow.yaml",
        "actions/workflows/w.workflow.yaml": "tasks: [{name: x, action: core.noop}]",
        "triggers/t.yaml": label,
        "queues/q.yaml": f"ref: lab.q\ndispatch_action: lab.a\n{label}",
        "rules/r.yaml": f"trigger_ref: lab.t\naction_ref: lab.a\n{label}",
        "sensors/s.yaml": f"runner_type: python\nentry_point: s.py\ntrigger_types: [lab.t]\n{label}",
    }


def uploaded() -> str:
    """Upload another version and return it."""
    version = f"1.0.{next(_number)}"
    files = {"pack.yaml": f"ref: lab\nversion: {version}", "actions/a.yaml": f"label: {version}\nentry_point: x"}
    upload_pack(packed(files), force=True)
    return version


def version_in(folder: Path) -> str:
    return folder.joinpath("pack.yaml").read_text().rpartition(" ")[2].strip()


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("post", "triggers/lab.t/webhooks/enable", None),
        ("put", "queues/lab.q", {"enabled": False}),
        ("put", "workflows/lab.w", {"label": "by hand"}),
        ("put", "sensors/lab.s", {"description": "by hand"}),
        ("put", "rules/lab.r", {"description": "by hand"}),
        ("post", "rules", {"label": "n", "pack_ref": "lab", "action_ref": "lab.a", "trigger_ref": "lab.t"}),
    ],
)
def test_rows_may_be_changed_while_their_pack_is_registered(write: Any, method: str, path: str, body: Any) -> None:
    register_pack(write("lab", lab()))
    caller = signed_in(make_admin())
    kept: list[bool] = []

    for number in range(ROUNDS):
        folder = write("lab", lab())
        Trigger.objects.filter(ref="lab.t").update(webhook_enabled=False, webhook_key=None)
        WorkQueue.objects.update(enabled=True)
        sent = {**body, "ref": f"lab.new{number}"} if path == "rules" else body

        registration, answer = together(
            partial(register_pack, folder, force=True),
            partial(getattr(caller, method), f"/api/v1/{path}", sent),
            spread_seconds=0.04,
        )

        assert registration.warnings == []
        assert answer.status_code in (200, 201), answer.json()
        kept.append(
            {
                "queues/lab.q": not WorkQueue.objects.get().enabled,
                "triggers/lab.t/webhooks/enable": Trigger.objects.get(ref="lab.t").webhook_enabled,
            }.get(path, True)
        )

    assert all(kept)
    assert WorkflowDefinition.objects.get().label == Action.objects.get(ref="lab.w").label
    sensor = Sensor.objects.get(ref="lab.s")
    assert not SensorNotice.objects.filter(sensor=sensor, version__gt=sensor.rules_version).exists()


def test_trigger_may_be_taken_over_by_another_sensor_while_its_pack_is_registered(write: Any) -> None:
    register_pack(write("lab", lab()))
    caller = signed_in(make_admin())

    for number in range(ROUNDS):
        folder = write("lab", lab())
        named = {"pack_ref": "lab", "runtime_ref": "core.python", "trigger_ref": "lab.t"}
        sent = {"ref": f"lab.new{number}", "label": "n", "entrypoint": "n.py", **named}

        registration, answer = together(
            partial(register_pack, folder, force=True),
            partial(caller.post, "/api/v1/sensors", sent),
            spread_seconds=0.04,
        )

        assert [warning for warning in registration.warnings if "was served by" not in warning["message"]] == []
        assert answer.status_code == 201, answer.json()


def test_of_two_deletions_one_finds_nothing(packs_dir: Path) -> None:
    for _ in range(ROUNDS):
        uploaded()
        found = [Pack.objects.get(ref="lab") for _ in range(2)]

        answers = together(*(lambda pack=pack: delete_pack(pack) for pack in found))

        assert sorted(type(answer) for answer in answers if answer is not None) == [NotFound]
        assert not (packs_dir / "lab").exists()


def test_rows_and_files_are_of_one_version_whoever_rolls_back(packs_dir: Path) -> None:
    versions = [uploaded(), uploaded()]

    for number in range(ROUNDS):
        other = uploaded if number % 3 == 0 else lambda: rollback_pack("lab").pack.version
        versions += together(lambda: rollback_pack("lab").pack.version, other, spread_seconds=0.02)

        assert all(isinstance(version, str) for version in versions), versions
        pack, action = Pack.objects.get(ref="lab"), Action.objects.get(ref="lab.a")
        assert pack.version == action.label == version_in(packs_dir / "lab")
        assert version_in(packs_dir / ".previous/lab") != pack.version


def test_deletion_of_a_pack_while_rows_come_below_it(write: Any) -> None:
    caller = make_admin()

    for number in range(ROUNDS):
        register_pack(write("lab", lab()), force=True)
        sent = {"ref": f"lab.new{number}", "label": "n", "pack_ref": "lab", "entrypoint": "x"}

        deleted, created, changed = together(
            lambda: signed_in(caller).delete("/api/v1/packs/lab"),
            partial(signed_in(caller).post, "/api/v1/actions", sent),
            lambda: signed_in(caller).put("/api/v1/sensors/lab.s", {"label": "by hand"}),
            spread_seconds=0.04,
        )

        assert deleted.status_code == 200, deleted.json()
        assert created.status_code in (201, 404, 422), created.json()
        assert changed.status_code in (200, 404), changed.json()
        assert not Action.objects.filter(pack_ref="lab").exists()
        assert not Rule.objects.filter(pack_ref="lab").exists()
