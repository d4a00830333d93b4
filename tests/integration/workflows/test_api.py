"""Workflow definitions over HTTP."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.actions.models import Action
from apps.workflows.models import WorkflowDefinition
from tests.clients import anonymous, signed_in
from tests.factories import grant, make_action, make_holder, make_pack, make_set
from tests.integration.workflows.conftest import definition

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("core_pack")]

WORKFLOWS, ACTIONS = "/api/v1/workflows", "/api/v1/actions"
SUMMARY = {"id", "ref", "pack_ref", "label", "description", "version", "tags", "created", "updated"}
DETAIL = SUMMARY | {"pack", "param_schema", "out_schema", "definition"}


@pytest.fixture(autouse=True)
def lab() -> Any:
    return make_pack(ref="lab")


def body(**keys: Any) -> dict[str, Any]:
    return {
        "ref": "lab.flow",
        "pack_ref": "lab",
        "label": "Flow",
        "version": "1.0.0",
        "definition": definition(),
        **keys,
    }


def test_create_makes_the_companion_action(api: Any) -> None:
    sent = body(
        description="d",
        param_schema={"x": {"type": "string"}},
        out_schema={"y": {"type": "integer"}},
        tags=["t"],
        definition={**definition(__chart_meta__={"x": 1}), "unknown": [1.5]},
    )

    answer = api.post(WORKFLOWS, sent)

    assert (answer.status_code, set(answer.json()), set(answer.json()["data"])) == (201, {"data", "message"}, DETAIL)
    data = answer.json()["data"]
    assert {name: data[name] for name in sent} == sent
    assert api.get(f"{WORKFLOWS}/lab.flow").json() == {"data": data}
    action = Action.objects.get(ref="lab.flow")
    assert (action.entrypoint, action.runtime, action.is_adhoc, action.workflow_def) == (
        "workflow",
        None,
        False,
        data["id"],
    )
    assert (action.label, action.description, action.param_schema, action.out_schema) == (
        "Flow",
        "d",
        sent["param_schema"],
        sent["out_schema"],
    )


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"ref": "core.noop"}, 409),
        ({"ref": "nodot"}, 422),
        ({"ref": ""}, 422),
        ({"pack_ref": "none"}, 404),
        ({"label": ""}, 422),
        ({"label": "x" * 256}, 422),
        ({"version": "x" * 51}, 422),
        ({"version": ""}, 422),
        ({"definition": "tasks: []"}, 422),
        ({"definition": {}}, 422),
        ({"param_schema": []}, 422),
        ({"tags": "x"}, 422),
    ],
)
def test_create_refuses(api: Any, change: dict[str, Any], status: int) -> None:
    assert api.post(WORKFLOWS, body(**change)).status_code == status
    assert not WorkflowDefinition.objects.exists()


@pytest.mark.parametrize("missing", ["ref", "pack_ref", "label", "version", "definition"])
def test_create_takes_all_of_these(api: Any, missing: str) -> None:
    sent = body()
    del sent[missing]

    answer = api.post(WORKFLOWS, sent)

    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")


def test_taken_ref_is_a_conflict(api: Any) -> None:
    assert api.post(WORKFLOWS, body()).status_code == 201
    assert api.post(WORKFLOWS, body()).status_code == 409


def test_invalid_definition_names_every_error(api: Any) -> None:
    answer = api.post(WORKFLOWS, body(definition=definition(join=0, next=[{"do": ["gone"]}])))

    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")
    assert [(entry["field"], entry["code"], entry["path"]) for entry in answer.json()["details"]] == [
        ("definition.tasks.0.join", "range", "/tasks/0/join"),
        ("definition.tasks.0.next.0.do.0", "unknown_target", "/tasks/0/next/0/do/0"),
    ]


def test_doubtful_definition_is_saved_with_warnings(api: Any) -> None:
    answer = api.post(WORKFLOWS, body(definition=definition(action="lab.gone", input={"x": "{{ y }}"})))

    assert answer.status_code == 201
    assert answer.json()["warnings"] == [
        {
            "code": "unknown_name",
            "message": "unknown name 'y'",
            "path": "/tasks/0/input/x",
            "line": None,
            "column": None,
        },
        {
            "code": "unknown_action",
            "message": "there is no action 'lab.gone'",
            "path": "/tasks/0/action",
            "line": None,
            "column": None,
        },
    ]


def test_update_keeps_both_in_step(api: Any) -> None:
    api.post(WORKFLOWS, body())

    answer = api.put(
        f"{WORKFLOWS}/lab.flow",
        {"label": "New", "version": "2", "param_schema": {"z": {}}, "definition": definition(name="b"), "tags": ["q"]},
    )

    assert (answer.status_code, set(answer.json())) == (200, {"data", "message"})
    data = api.get(f"{WORKFLOWS}/lab.flow").json()["data"]
    assert data == answer.json()["data"]
    assert (data["label"], data["version"], data["tags"], data["definition"]) == (
        "New",
        "2",
        ["q"],
        definition(name="b"),
    )
    action = Action.objects.get(ref="lab.flow")
    assert (action.label, action.param_schema) == ("New", {"z": {}})
    assert api.put(f"{WORKFLOWS}/lab.flow", {"definition": {"tasks": []}}).status_code == 422
    assert api.put(f"{WORKFLOWS}/lab.none", {"label": "x"}).status_code == 404


def test_changing_the_action_changes_the_workflow(api: Any) -> None:
    api.post(WORKFLOWS, body())

    answer = api.put(f"{ACTIONS}/lab.flow", {"label": "By action", "param_schema": {"a": {"type": "string"}}})

    assert answer.status_code == 200
    workflow = WorkflowDefinition.objects.get()
    assert (workflow.label, workflow.param_schema) == ("By action", {"a": {"type": "string"}})
    assert api.put(f"{ACTIONS}/lab.flow", {"entrypoint": "echo"}).status_code == 422
    assert api.put(f"{ACTIONS}/lab.flow", {"runtime_ref": "core.shell"}).status_code == 422
    assert api.put(f"{ACTIONS}/lab.flow", {"entrypoint": "workflow"}).status_code == 200


@pytest.mark.parametrize("named", [WORKFLOWS, ACTIONS])
def test_deleting_either_deletes_both(api: Any, named: str) -> None:
    api.post(WORKFLOWS, body())

    answer = api.delete(f"{named}/lab.flow")

    assert answer.status_code == 200
    assert answer.json()["success"] is True
    assert not WorkflowDefinition.objects.exists()
    assert not Action.objects.filter(ref="lab.flow").exists()
    assert api.delete(f"{named}/lab.flow").status_code == 404


def test_deleting_the_pack_deletes_both(api: Any, packs_dir: Any) -> None:
    api.post(WORKFLOWS, body())

    assert api.delete("/api/v1/packs/lab").status_code == 200

    assert not WorkflowDefinition.objects.exists()


def test_list_filters(api: Any) -> None:
    make_pack(ref="other")
    api.post(WORKFLOWS, body(ref="lab.a", label="Deploy", tags=["prod", 'q"uote']))
    api.post(WORKFLOWS, body(ref="lab.b", label="x", description="can DEPLOY too", tags=["test"]))
    api.post(WORKFLOWS, body(ref="other.c", pack_ref="other", tags=["prod-eu", "äü"]))

    def found(**query: str) -> list[str]:
        answer = api.get(WORKFLOWS, query)
        assert answer.status_code == 200
        return [row["ref"] for row in answer.json()["data"]]

    assert set(api.get(WORKFLOWS).json()["data"][0]) == SUMMARY
    assert found() == ["lab.a", "other.c", "lab.b"]  # by label
    assert found(tags="prod,test") == ["lab.a", "lab.b"]
    assert found(tags="äü") == ["other.c"]
    assert found(tags='q"uote') == ["lab.a"]
    assert found(search="deploy") == ["lab.a", "lab.b"]
    assert found(search="deploy", tags="test") == ["lab.b"]
    assert found(pack_ref="other") == ["other.c"]
    assert [row["ref"] for row in api.get("/api/v1/packs/lab/workflows").json()["data"]] == ["lab.a", "lab.b"]
    assert api.get("/api/v1/packs/none/workflows").status_code == 404


def test_list_takes_as_many_queries_for_three_as_for_one(api: Any) -> None:
    api.post(WORKFLOWS, body(ref="lab.a"))
    with CaptureQueriesContext(connection) as one:
        api.get(WORKFLOWS)
    api.post(WORKFLOWS, body(ref="lab.b"))
    api.post(WORKFLOWS, body(ref="lab.c"))
    with CaptureQueriesContext(connection) as three:
        api.get(WORKFLOWS)

    assert len(one) == len(three)


# --- Grants -----------------------------------------------------------------------------------------------------


def test_grants_of_actions_decide(api: Any) -> None:
    api.post(WORKFLOWS, body())
    nobody = signed_in(make_holder())
    reader = signed_in(make_holder(grant("actions:read", pack_refs=["lab"])))
    executor = signed_in(make_holder(grant("actions:execute", refs=["lab.other"])))

    assert anonymous().get(WORKFLOWS).status_code == 401
    assert [client.get(WORKFLOWS).json()["data"] for client in (nobody, executor)] == [[], []]
    assert [client.get(f"{WORKFLOWS}/lab.flow").status_code for client in (nobody, executor, reader)] == [
        404,
        404,
        200,
    ]
    assert [client.post(WORKFLOWS, body(ref="lab.x")).status_code for client in (nobody, reader)] == [403, 403]
    assert reader.put(f"{WORKFLOWS}/lab.flow", {"label": "x"}).status_code == 403
    assert reader.delete(f"{WORKFLOWS}/lab.flow").status_code == 403
    assert nobody.post(f"{WORKFLOWS}/validate", {"definition": definition()}).status_code == 200


def test_literal_permission_sets_must_be_covered(api: Any) -> None:
    make_set(grant("keys:read"), ref="lab.keys")
    author = signed_in(make_holder(grant("actions:read", "actions:create", "actions:update")))
    named = definition(permission_set_refs=["lab.keys", "{{ parameters.x }}", "standard"])

    assert author.post(WORKFLOWS, body(definition=named)).status_code == 403
    assert author.post(WORKFLOWS, body(definition=definition(permission_set_ref="lab.none"))).status_code == 403
    assert author.post(WORKFLOWS, body(definition=definition(permission_set_refs="standard"))).status_code == 201
    assert author.put(f"{WORKFLOWS}/lab.flow", {"definition": named}).status_code == 403
    assert api.put(f"{WORKFLOWS}/lab.flow", {"definition": named}).status_code == 200
    # As they are they may stay.
    assert author.put(f"{WORKFLOWS}/lab.flow", {"definition": {**named, "vars": {"x": 1}}}).status_code == 200


def test_actions_out_of_sight_count_as_absent(api: Any) -> None:
    make_action(ref="lab.hidden", param_schema={"port": {"type": "integer"}})
    author = signed_in(make_holder(grant("actions:create", "actions:read", refs=["lab.flow"])))
    named = definition(action="lab.hidden", input={"port": "x"})

    assert [each["code"] for each in author.post(WORKFLOWS, body(definition=named)).json()["warnings"]] == [
        "unknown_action"
    ]
    assert [each["code"] for each in api.put(f"{WORKFLOWS}/lab.flow", {"definition": named}).json()["warnings"]] == [
        "input"
    ]


# --- Validate ---------------------------------------------------------------------------------------------------


def test_validate_an_object(api: Any) -> None:
    answer = api.post(f"{WORKFLOWS}/validate", {"definition": definition(next={"do": "a"}, join=3)})

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert (data["valid"], [each["code"] for each in data["errors"]], [each["code"] for each in data["warnings"]]) == (
        False,
        ["no_entry"],
        ["join_too_large"],
    )
    assert data["graph"] == {"entry": [], "edges": [{"from": "a", "to": "a", "when": None}], "cycles": [["a"]]}
    assert not WorkflowDefinition.objects.exists()


def test_validate_a_text_with_lines(api: Any) -> None:
    text = "tasks:\n  - name: a\n    action: core.noop\n    when: x > \n"

    data = api.post(f"{WORKFLOWS}/validate", {"definition": text}).json()["data"]

    assert data["valid"] is False
    assert [(each["code"], each["path"], each["line"]) for each in data["errors"]] == [("syntax", "/tasks/0/when", 4)]


@pytest.mark.parametrize("text", ["tasks: [", "", "[]", "just a text"])
def test_validate_what_is_no_definition(api: Any, text: str) -> None:
    data = api.post(f"{WORKFLOWS}/validate", {"definition": text}).json()["data"]

    assert (data["valid"], len(data["errors"])) == (False, 1)


@pytest.mark.parametrize(
    "sent", [{}, {"definition": 5}, {"definition": []}, {"definition": {}, "param_schema": []}, {"definition": None}]
)
def test_validate_refuses(api: Any, sent: Any) -> None:
    assert api.post(f"{WORKFLOWS}/validate", sent).status_code == 422


def test_valid_definition(api: Any) -> None:
    assert api.post(f"{WORKFLOWS}/validate", {"definition": definition(), "pack_ref": "lab"}).json() == {
        "data": {
            "valid": True,
            "errors": [],
            "warnings": [],
            "graph": {"entry": ["a"], "edges": [], "cycles": []},
        }
    }
