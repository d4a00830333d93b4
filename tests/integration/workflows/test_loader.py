"""Workflows from the files of packs."""

from pathlib import Path
from typing import Any

import pytest

from apps.actions.models import Action
from apps.packs.models import Pack
from apps.packs.services import register_pack
from apps.workflows.models import WorkflowDefinition
from apps.workflows.services import create_workflow
from tests.integration.workflows.conftest import definition

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("core_pack", "packs_dir")]

FLOW = "version: 2.0.0\ntasks:\n  - {name: a, action: lab.echo}\n"
ACTION = "workflow_file: workflows/flow.workflow.yaml\nlabel: The flow\ntags: [x]\nparameters: {p: {type: string}}\n"
LINKED = {
    "actions/flow.yaml": ACTION,
    "actions/workflows/flow.workflow.yaml": FLOW,
    "actions/echo.yaml": "entry_point: echo",
}
ALONE = {"workflows/alone.yaml": "ref: alone\nlabel: Alone\n" + FLOW, "actions/echo.yaml": "entry_point: echo"}


def register(write: Any, files: dict[str, str]) -> list[tuple[str, int | None, str]]:
    """Register the pack; the warnings."""
    registration = register_pack(write("lab", files), force=True)
    return [(each["file"], each["line"], each["message"]) for each in registration.warnings]


def test_action_file_with_a_workflow(write: Any) -> None:
    assert register(write, LINKED) == []

    workflow, action = WorkflowDefinition.objects.get(), Action.objects.get(ref="lab.flow")
    assert (workflow.ref, workflow.label, workflow.version, workflow.tags) == ("lab.flow", "The flow", "2.0.0", ["x"])
    assert workflow.definition == {"version": "2.0.0", "tasks": [{"name": "a", "action": "lab.echo"}]}
    assert workflow.param_schema == action.param_schema == {"p": {"type": "string"}}
    assert (workflow.is_adhoc, workflow.source_file) == (False, "actions/flow.yaml")
    assert (action.entrypoint, action.runtime, action.is_adhoc, action.workflow_def) == (
        "workflows/flow.workflow.yaml",
        None,
        False,
        workflow.pk,
    )


def test_file_that_stands_alone(write: Any) -> None:
    assert register(write, ALONE) == []

    workflow, action = WorkflowDefinition.objects.get(), Action.objects.get(ref="lab.alone")
    assert (workflow.ref, workflow.label, workflow.version) == ("lab.alone", "Alone", "2.0.0")
    assert (action.entrypoint, action.label, action.is_adhoc, action.workflow_def) == (
        "workflow",
        "Alone",
        False,
        workflow.pk,
    )


@pytest.mark.parametrize("files", [LINKED, ALONE])
def test_registering_again_updates_in_place_and_removes_what_is_gone(write: Any, files: dict[str, str]) -> None:
    register(write, files)
    before = WorkflowDefinition.objects.get()

    assert register(write, {name: text.replace("2.0.0", "3.0.0") for name, text in files.items()}) == []
    after = WorkflowDefinition.objects.get()
    assert (after.pk, after.version) == (before.pk, "3.0.0")

    assert register(write, {"actions/echo.yaml": "entry_point: echo"}) == []
    assert not WorkflowDefinition.objects.exists()
    assert [action.ref for action in Action.objects.filter(pack_ref="lab")] == ["lab.echo"]


def test_workflow_of_the_api_survives(write: Any) -> None:
    register(write, {"actions/echo.yaml": "entry_point: echo"})
    create_workflow(ref="lab.mine", pack_ref="lab", label="Mine", version="1.0.0", definition=definition())

    register(write, {"actions/echo.yaml": "entry_point: echo"})
    assert Action.objects.filter(ref="lab.mine").exists()

    for files in ({"actions/mine.yaml": "entry_point: echo"}, {"actions/mine.yaml": ACTION, FILE: FLOW}, ALONE):
        texts = {name: text.replace("alone", "mine") for name, text in files.items()}
        [(_, _, message)] = register(write, texts)
        assert message == "'lab.mine' was made through the API and is left as it is"
        assert WorkflowDefinition.objects.get(ref="lab.mine").label == "Mine"


def test_plain_action_becomes_a_workflow_and_back(write: Any) -> None:
    register(write, {"actions/flow.yaml": "entry_point: echo", "actions/echo.yaml": "entry_point: echo"})
    action = Action.objects.get(ref="lab.flow")

    assert register(write, LINKED) == []
    assert Action.objects.get(ref="lab.flow").workflow_def is not None

    assert register(write, {"actions/flow.yaml": "entry_point: echo", "actions/echo.yaml": "entry_point: echo"}) == []
    back = Action.objects.get(ref="lab.flow")
    assert (back.pk, back.workflow_def, back.entrypoint) == (action.pk, None, "echo")
    assert not WorkflowDefinition.objects.exists()


FILE = "actions/workflows/flow.workflow.yaml"


@pytest.mark.parametrize(
    ("files", "warning"),
    [
        ({FILE: "tasks:\n  a: {action: core.noop}\n"}, (FILE, 2, "it is written in another dialect of workflows (tasks as a mapping) and is skipped")),
        (
            {FILE: "tasks:\n  - name: a\n    action: core.noop\n    on-success: [b]\n"},
            (FILE, 4, "it is written in another dialect of workflows ('on-success') and is skipped"),
        ),
        ({FILE: "tasks:\n  - name: a\n"}, (FILE, 2, "invalid workflow: a task needs an action")),
        ({FILE: "tasks: [\n"}, (FILE, 2, "not parsable: did not find expected node content")),
        ({FILE: "- a\n"}, (FILE, 1, "the file must hold a mapping")),
        (
            {"actions/flow.yaml": "label: x\nworkflow_file: ../../other/x.yaml\n"},
            ("actions/flow.yaml", 2, "workflow_file leads out of the pack"),
        ),
        (
            {"actions/flow.yaml": "label: x\nworkflow_file: /etc/passwd\n"},
            ("actions/flow.yaml", 2, "there is no file 'actions//etc/passwd'"),
        ),
        (
            {"actions/flow.yaml": "workflow_file: workflows/none.yaml\n"},
            ("actions/flow.yaml", 1, "there is no file 'actions/workflows/none.yaml'"),
        ),
    ],
)  # fmt: skip
def test_faulty_workflow_is_skipped_with_its_line(write: Any, files: dict[str, str], warning: Any) -> None:
    assert register(write, {**LINKED, **files}) == [warning]

    assert [action.ref for action in Action.objects.filter(pack_ref="lab")] == ["lab.echo"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("label: x\n" + FLOW, "ref is required"), ("ref: x\n" + FLOW, "label is required")],
)
def test_file_that_stands_alone_needs_ref_and_label(write: Any, text: str, message: str) -> None:
    assert register(write, {"workflows/x.yaml": text, "actions/echo.yaml": "entry_point: echo"}) == [
        ("workflows/x.yaml", None, message)
    ]
    assert not WorkflowDefinition.objects.exists()


def test_faulty_file_keeps_what_was_loaded_before(write: Any) -> None:
    register(write, LINKED)

    register(write, {**LINKED, FILE: "tasks: []\n"})

    assert WorkflowDefinition.objects.get().version == "2.0.0"


def test_doubts_are_warnings_with_lines(write: Any) -> None:
    text = "tasks:\n  - name: a\n    action: other.gone\n    when: x\n  - name: b\n    action: lab.later\n"

    assert register(write, {**LINKED, FILE: text}) == [
        (FILE, 4, "unknown name 'x'"),
        (FILE, 3, "there is no action 'other.gone'"),
    ]
    assert WorkflowDefinition.objects.exists()


def test_link_out_of_the_pack_is_refused(write: Any, tmp_path: Path) -> None:
    folder = write("lab", {"actions/flow.yaml": ACTION, "actions/workflows/x.yaml": ""})
    (tmp_path / "secret.yaml").write_text(FLOW)
    (folder / FILE).symlink_to(tmp_path / "secret.yaml")

    [warning] = register_pack(folder).warnings

    assert warning["message"] == "workflow_file leads out of the pack"


# --- Validate and sync ------------------------------------------------------------------------------------------

PACK = "/api/v1/packs/lab"


def test_validate_the_files_of_a_pack(api: Any, write: Any) -> None:
    bad = "tasks:\n  - name: a\n    action: core.noop\n    when: x\n  - name: b\n"
    register(write, {**LINKED, **ALONE, "actions/bad.yaml": "workflow_file: workflows/bad.yaml",
                     "actions/workflows/bad.yaml": bad})  # fmt: skip

    answer = api.post(f"{PACK}/workflows/validate")

    assert (answer.status_code, set(answer.json())) == (200, {"data", "message"})
    assert answer.json()["data"] == {
        "pack_ref": "lab",
        "validated_count": 3,
        "error_count": 1,
        "errors": {"lab.bad": ["line 5: a task needs an action", "line 4: unknown name 'x'"]},
    }
    assert api.post("/api/v1/packs/none/workflows/validate").status_code == 404


def test_sync_without_registering(api: Any, write: Any) -> None:
    folder = write("lab", LINKED)
    register_pack(folder)
    (folder / FILE).write_text(FLOW.replace("2.0.0", "2.1.0"))
    (folder / "workflows").mkdir()
    (folder / "workflows/alone.yaml").write_text(ALONE["workflows/alone.yaml"])
    (folder / "workflows/bad.yaml").write_text("ref: bad\nlabel: Bad\ntasks: []\n")

    answer = api.post(f"{PACK}/workflows/sync")

    flow, alone = (WorkflowDefinition.objects.get(ref=ref) for ref in ("lab.flow", "lab.alone"))
    assert (answer.status_code, set(answer.json())) == (200, {"data", "message"})
    assert answer.json()["data"] == {
        "pack_ref": "lab",
        "loaded_count": 3,
        "registered_count": 2,
        "workflows": [
            {"ref_name": "lab.flow", "created": False, "workflow_def_id": flow.pk, "warnings": []},
            {"ref_name": "lab.alone", "created": True, "workflow_def_id": alone.pk, "warnings": []},
        ],
        "errors": ["workflows/bad.yaml: line 3: invalid workflow: a workflow needs at least one task"],
    }
    assert flow.version == "2.1.0"
    assert api.post("/api/v1/packs/none/workflows/sync").status_code == 404


def test_pack_without_a_folder_has_no_files(api: Any) -> None:
    Pack.objects.create(ref="lab", label="Lab", version="1.0.0")

    assert api.post(f"{PACK}/workflows/validate").json()["data"]["validated_count"] == 0
    assert api.post(f"{PACK}/workflows/sync").json()["data"]["loaded_count"] == 0
