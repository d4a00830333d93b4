"""Workflows that are written into the folder of their pack."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from apps.actions.models import Action
from apps.packs.models import Pack
from apps.packs.services import load_core_pack, register_pack
from apps.workflows import services
from apps.workflows.models import WorkflowDefinition
from tests.clients import signed_in
from tests.factories import make_admin, make_holder, make_pack
from tests.integration.workflows.conftest import definition
from tests.racing import together

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("core_pack", "packs_dir")]

FILES, FILE = "/api/v1/packs/lab/workflow-files", "/api/v1/workflows/lab.flow/file"


@pytest.fixture
def folder(write: Any) -> Path:
    """The registered folder of the pack lab."""
    path: Path = write("lab", {"actions/echo.yaml": "entry_point: echo"})
    register_pack(path)
    return path


def body(**keys: Any) -> dict[str, Any]:
    return {
        "name": "flow",
        "pack_ref": "lab",
        "label": "Flow",
        "version": "1.0.0",
        "definition": definition(input={"message": "on: 'x'\nyes", "1": [1.5, None, True]}),
        **keys,
    }


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_create_writes_both_files(api: Any, folder: Path) -> None:
    sent = body(description="d", tags=["t"], param_schema={"p": {"type": "string"}}, out_schema={"o": {}})

    answer = api.post(FILES, sent)

    assert (answer.status_code, set(answer.json())) == (201, {"data", "message"})
    assert answer.json()["data"]["definition"] == sent["definition"]
    assert files(folder) == [
        "actions/echo.yaml", "actions/flow.yaml", "actions/workflows/flow.workflow.yaml", "pack.yaml",
    ]  # fmt: skip
    assert yaml.safe_load((folder / "actions/flow.yaml").read_text()) == {
        "ref": "lab.flow",
        "label": "Flow",
        "description": "d",
        "workflow_file": "workflows/flow.workflow.yaml",
        "parameters": {"p": {"type": "string"}},
        "output": {"o": {}},
        "tags": ["t"],
    }
    assert yaml.safe_load((folder / "actions/workflows/flow.workflow.yaml").read_text()) == sent["definition"]
    action = Action.objects.get(ref="lab.flow")
    assert (action.entrypoint, action.is_adhoc, action.workflow_def) == (
        "workflow",
        False,
        answer.json()["data"]["id"],
    )


def test_registering_again_finds_the_same_workflow(api: Any, folder: Path) -> None:
    created = api.post(FILES, body(version="1.2.0")).json()["data"]

    registration = register_pack(folder, force=True)

    again = api.get("/api/v1/workflows/lab.flow").json()["data"]
    assert registration.warnings == []
    assert (again["id"], again["version"], again["label"]) == (created["id"], "1.2.0", "Flow")
    assert again["definition"] == {"version": "1.2.0", **created["definition"]}


def test_update_writes_both_files_and_keeps_what_else_the_action_says(api: Any, folder: Path) -> None:
    api.post(FILES, body())
    action_file = folder / "actions/flow.yaml"
    action_file.write_text(action_file.read_text() + "timeout_seconds: 20\n")

    answer = api.put(FILE, body(label="New", definition=definition(name="b")))

    assert (answer.status_code, answer.json()["data"]["label"]) == (200, "New")
    written = yaml.safe_load(action_file.read_text())
    assert (written["label"], written["timeout_seconds"]) == ("New", 20)
    assert yaml.safe_load((folder / "actions/workflows/flow.workflow.yaml").read_text()) == definition(name="b")
    assert Action.objects.get(ref="lab.flow").label == "New"
    assert not [name for name in files(folder) if name.endswith(".tmp")]


def test_workflow_of_the_api_becomes_one_of_files(api: Any, folder: Path) -> None:
    services.create_workflow(ref="lab.flow", pack_ref="lab", label="x", version="1.0.0", definition=definition())

    assert api.put(FILE, body()).status_code == 200

    assert "actions/flow.yaml" in files(folder)
    workflow = WorkflowDefinition.objects.get()
    assert (workflow.is_adhoc, workflow.source_file) == (False, "actions/flow.yaml")


def test_pack_without_a_folder_gets_one(api: Any, packs_dir: Path) -> None:
    make_pack(ref="lab")

    assert api.post(FILES, body()).status_code == 201

    assert files(packs_dir / "lab") == ["actions/flow.yaml", "actions/workflows/flow.workflow.yaml"]


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "..", ".", ".hidden", "a.b", "", "a b", "A", "x\\y", "a\nb", "x" * 255, "ü" * 200]
)
def test_names_that_are_no_file_names(api: Any, folder: Path, name: str) -> None:
    before = files(folder)

    assert api.post(FILES, body(name=name)).status_code == 422

    assert files(folder) == before
    assert not WorkflowDefinition.objects.exists()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"definition": {}}, 422),
        ({"pack_ref": "core"}, 422),
        ({"name": "echo"}, 409),
        ({"label": None}, 422),
    ],
)
def test_create_refuses(api: Any, folder: Path, change: dict[str, Any], status: int) -> None:
    before = files(folder)

    assert api.post(FILES, body(**change)).status_code == status

    assert files(folder) == before


def test_other_refusals(api: Any, folder: Path) -> None:
    assert api.post("/api/v1/packs/none/workflow-files", body(pack_ref="none")).status_code == 404
    assert api.post("/api/v1/packs/core/workflow-files", body(pack_ref="core")).status_code == 400
    assert signed_in(make_holder()).post(FILES, body()).status_code == 403
    assert api.put(FILE, body()).status_code == 404
    assert api.post(FILES, body()).status_code == 201
    assert api.post(FILES, body()).status_code == 409
    assert api.put(FILE, body(name="other")).status_code == 422
    assert api.put(FILE, body(pack_ref="core")).status_code == 422
    assert signed_in(make_holder()).put(FILE, body()).status_code == 403


def test_file_that_is_there_is_not_replaced(api: Any, folder: Path) -> None:
    (folder / "actions/flow.yml").write_text("broken: [")

    assert api.post(FILES, body()).status_code == 409

    assert (folder / "actions/flow.yml").read_text() == "broken: ["


def test_workflow_of_another_file_is_not_written_twice(api: Any, write: Any) -> None:
    register_pack(
        write("lab", {"workflows/flow.yaml": "ref: flow\nlabel: Flow\ntasks: [{name: a, action: core.noop}]\n"})
    )

    assert api.put(FILE, body()).status_code == 409


@pytest.mark.parametrize("link", ["actions", "actions/workflows"])
def test_links_are_not_followed(api: Any, folder: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if link == "actions":
        (folder / "actions/echo.yaml").unlink()
        (folder / "actions").rmdir()
    (folder / link).symlink_to(outside)

    assert api.post(FILES, body()).status_code == 422

    assert list(outside.iterdir()) == []
    assert not WorkflowDefinition.objects.exists()


def test_link_in_place_of_a_file_is_replaced(api: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text("mine")
    (folder / "actions/workflows").mkdir()
    (folder / "actions/workflows/flow.workflow.yaml").symlink_to(tmp_path / "outside.yaml")

    assert api.post(FILES, body()).status_code == 201

    assert (tmp_path / "outside.yaml").read_text() == "mine"
    assert not (folder / "actions/workflows/flow.workflow.yaml").is_symlink()


def test_nothing_is_left_when_the_second_file_cannot_be_written(api: Any, folder: Path) -> None:
    api.post(FILES, body())
    before = (folder / "actions/workflows/flow.workflow.yaml").read_text()
    (folder / "actions/flow.yaml").unlink()
    (folder / "actions/flow.yaml").mkdir()  # nothing can be renamed onto a folder

    assert api.put(FILE, body(label="New", definition=definition(name="b"))).status_code == 422

    assert (folder / "actions/workflows/flow.workflow.yaml").read_text() == before
    assert WorkflowDefinition.objects.get().label == "Flow"
    assert not [name for name in files(folder) if name.endswith(".tmp")]


# --- Several at once --------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_that_create_the_same_workflow(packs_dir: Path) -> None:
    load_core_pack()
    make_pack(ref="lab")
    clients = [signed_in(make_admin()) for _ in range(4)]

    def create(number: int) -> int:
        return int(clients[number].post(FILES, body(label=f"Flow {number}")).status_code)

    statuses = together(*(partial(create, number) for number in range(len(clients))))

    assert sorted(statuses) == [201, 409, 409, 409]
    written = yaml.safe_load((packs_dir / "lab/actions/flow.yaml").read_text())
    workflow = WorkflowDefinition.objects.get()
    assert written["label"] == workflow.label == Action.objects.get(ref="lab.flow").label


@pytest.mark.django_db(transaction=True)
def test_changing_workflow_and_action_at_once_keeps_them_in_step(packs_dir: Path) -> None:
    load_core_pack()
    Pack.objects.create(ref="lab", label="Lab", version="1.0.0")
    services.create_workflow(ref="lab.flow", pack_ref="lab", label="x", version="1.0.0", definition=definition())
    admin = make_admin()

    def change(address: str, label: str) -> int:
        return int(signed_in(admin).put(f"/api/v1/{address}/lab.flow", {"label": label}).status_code)

    for number in range(30):
        statuses = together(
            partial(change, "workflows", f"by workflow {number}"), partial(change, "actions", f"by action {number}")
        )

        assert statuses == [200, 200]
        assert WorkflowDefinition.objects.get().label == Action.objects.get(ref="lab.flow").label
