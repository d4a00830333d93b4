"""``manage.py workflow_validate`` and ``workflow_graph``."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from apps.core.commands import Problem
from apps.workflows.services import create_workflow
from tests.factories import make_action, make_pack
from tests.integration.workflows.conftest import definition

pytestmark = pytest.mark.django_db

GOOD = "tasks:\n  - {name: a, action: lab.a}\n"


def validate(file: Path, *words: str) -> tuple[str, Any]:
    """Return what the command printed and its exit status."""
    output = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("workflow_validate", str(file), *words, stdout=output)
    return output.getvalue(), ended.value.code


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "flow.yaml"


def test_valid_file(file: Path) -> None:
    make_action(ref="lab.a")
    file.write_text(GOOD)

    assert validate(file) == (f"{file}: valid; it starts with a\n", 0)


def test_unknown_action_is_a_warning_unless_offline(file: Path) -> None:
    file.write_text(GOOD)

    text, status = validate(file)
    assert (text.splitlines()[0], status) == (f"{file}:2:23: warning: there is no action 'lab.a' [unknown_action]", 0)
    assert validate(file, "--offline") == (f"{file}: valid; it starts with a\n", 0)


def test_invalid_file_names_the_places(file: Path) -> None:
    file.write_text("tasks:\n  - name: a\n    when: 1 +\n")

    assert validate(file) == (
        f"{file}:2:5: error: a task needs an action [no_action]\n"
        f"{file}:3:14: error: the expression ends too early [syntax]\n"
        f"{file}: not valid, 2 errors\n",
        1,
    )


def test_unreadable_yaml_is_invalid(file: Path) -> None:
    file.write_text("tasks: ]\n")

    text, status = validate(file)

    assert (text.startswith(f"{file}:1:8: error: "), status) == (True, 1)


def test_as_json(file: Path) -> None:
    file.write_text(GOOD)

    text, status = validate(file, "--json", "--offline")

    assert status == 0
    assert json.loads(text) == {
        "valid": True, "errors": [], "warnings": [], "graph": {"entry": ["a"], "edges": [], "cycles": []},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"), [(None, "cannot be read"), ("workflow_file: workflows/x.yaml", "workflows/x.yaml")]
)
def test_used_wrongly(file: Path, text: str | None, says: str) -> None:
    if text is not None:
        file.write_text(text)

    with pytest.raises(Problem) as refused:
        call_command("workflow_validate", str(file))

    assert says in str(refused.value)
    assert refused.value.returncode == 2


def test_graph() -> None:
    make_pack(ref="lab")
    create_workflow(ref="lab.flow", pack_ref="lab", label="x", version="1.0.0", definition=definition())

    def drawn(*words: str) -> str:
        output = io.StringIO()
        call_command("workflow_graph", "lab.flow", *words, stdout=output)
        return output.getvalue()

    assert drawn() == drawn("--format", "mermaid") == 'flowchart TD\n    t0["a<br/>core.noop"]\n'
    assert drawn("--format", "dot").startswith("digraph workflow {\n")
    with pytest.raises(Problem, match=r"There is no workflow 'lab\.none'"):
        call_command("workflow_graph", "lab.none")
