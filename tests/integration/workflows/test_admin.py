"""The console's pages of workflow definitions."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.actions.models import Action
from apps.workflows.models import WorkflowDefinition
from apps.workflows.services import create_workflow
from tests.factories import grant, make_admin, make_holder, make_pack
from tests.integration.workflows.conftest import definition

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("core_pack")]

HOSTILE = "<img src=x onerror=alert(1)>"
LIST = "admin:workflows_workflowdefinition_changelist"


def signed_in(identity: Any) -> Client:
    client = Client()
    client.force_login(identity)
    return client


@pytest.fixture
def console() -> Client:
    return signed_in(make_admin())


def flow(**fields: Any) -> WorkflowDefinition:
    given = {"ref": "lab.flow", "pack_ref": "lab", "label": "Flow", "version": "1.0.0", "definition": definition()}
    make_pack(ref="lab")
    return create_workflow(**{**given, **fields}).workflow


def page(client: Client, workflow: WorkflowDefinition) -> str:
    answer = client.get(reverse("admin:workflows_workflowdefinition_change", args=[workflow.pk]), follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_list_links_to_runs(console: Client) -> None:
    flow()

    text = console.get(reverse(LIST)).content.decode()

    assert "lab.flow" in text
    assert "/executions/execution/?action_ref=lab.flow" in text


def test_page_shows_the_definition_and_its_graph(console: Client) -> None:
    tasks = [
        {"name": "start", "action": "core.noop", "next": [{"when": "{{ succeeded() }}", "do": ["block"]}]},
        {
            "name": "block",
            "type": "parallel",
            "tasks": [{"name": "x", "action": "core.noop"}],
            "next": {"do": "start"},
        },
    ]
    workflow = flow(definition={"tasks": tasks, "vars": {"a": "{{ not a template }}"}})

    text = page(console, workflow)

    assert "- name: start\n  action: core.noop\n" in text.replace("&#x27;", "'")
    picture = text[text.index("<svg viewBox") : text.index("</svg>", text.index("<svg viewBox"))]
    assert re.findall(r'data-task="(\w+)"', picture) == ["start", "x"]
    assert picture.count('class="at-way') == 2
    assert "succeeded()" in picture
    assert not re.search(r"style=|<script|on\w+=", picture)
    assert f"/actions/action/{Action.objects.get(ref='lab.flow').pk}/change/" in text


def test_what_is_hostile_comes_out_as_text(console: Client) -> None:
    tasks = [{"name": HOSTILE, "action": HOSTILE, "next": [{"when": HOSTILE, "publish": HOSTILE, "do": [HOSTILE]}]}]
    workflow = flow(label=HOSTILE, description=HOSTILE, tags=[HOSTILE], definition={"tasks": tasks, HOSTILE: HOSTILE})

    assert HOSTILE not in page(console, workflow)
    assert HOSTILE not in console.get(reverse(LIST)).content.decode()


def test_doubts_name_the_line_on_the_page(console: Client) -> None:
    workflow = flow(definition=definition(when="nope > 1"))

    text = page(console, workflow)

    assert "unknown name &#x27;nope&#x27;" in text
    assert "line 4 below" in text


def test_definition_that_cannot_be_run_says_so(console: Client) -> None:
    workflow = flow()
    WorkflowDefinition.objects.update(definition={"tasks": [{"name": "a"}]})

    assert "It cannot be run: /tasks/0: a task needs an action" in page(console, workflow)


def test_so_many_tasks_are_not_drawn(console: Client) -> None:
    tasks = [{"name": f"t{number}", "action": "core.noop"} for number in range(401)]

    text = page(console, flow(definition={"tasks": tasks}))

    assert "It has 401 tasks, too much for a picture." in text


def test_delete_takes_the_action_along(console: Client) -> None:
    workflow = flow()

    answer = console.post(reverse("admin:workflows_workflowdefinition_remove", args=[workflow.pk]), {"confirmed": "1"})

    assert answer.status_code == 302
    assert not WorkflowDefinition.objects.exists()
    assert not Action.objects.filter(ref="lab.flow").exists()


def test_pages_ask_the_grants() -> None:
    workflow = flow()
    other = signed_in(make_holder(grant("actions:read", refs=["lab.other"])))
    reader = signed_in(make_holder(grant("actions:read", refs=["lab.flow"])))

    assert "lab.flow" not in other.get(reverse(LIST)).content.decode()
    assert 'id="workflow"' not in page(other, workflow)
    text = page(reader, workflow)
    assert 'id="workflow"' in text
    assert ("Delete" in text, ">Run<" in text) == (False, False)
