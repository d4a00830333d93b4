"""Actions over HTTP."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.actions.models import Action
from apps.workers.models import Runtime
from tests.clients import signed_in
from tests.factories import make_action, make_execution, make_identity, make_pack, make_runtime

pytestmark = pytest.mark.django_db

ACTIONS = "/api/v1/actions"
PRESENT_IN_SUMMARY = {
    "id", "ref", "pack_ref", "label", "description", "entrypoint", "runtime", "accesses_mcp", "created", "updated",
}  # fmt: skip
PRESENT = PRESENT_IN_SUMMARY | {
    "pack", "param_schema", "out_schema", "is_adhoc", "timeout_seconds", "max_retries", "priority", "on_worker_lost",
    "max_lost_attempts", "limits", "strict_parameters", "parameter_delivery", "parameter_format", "output_format",
    "ambient_keys", "semaphores",
}  # fmt: skip
FULL = {
    "description": "d",
    "runtime_version_constraint": ">=3.12",
    "required_worker_runtimes": {"nodejs": "*"},
    "worker_selector": {"zone": "eu"},
    "worker_tolerations": [{"key": "gpu"}],
    "worker_affinity": {"required": [{"match_labels": {"a": "b"}}]},
    "param_schema": {"host": {"type": "string", "required": True, "odd": [1]}},
    "out_schema": {"type": "object", "properties": {}},
    "accesses_mcp": True,
    "default_execution_permission_set_refs": ["standard"],
    "artifact_retention_policy": "days",
    "artifact_retention_limit": 1,
    "log_retention_policy": "versions",
    "log_retention_limit": 2,
    "timeout_seconds": 604800,
    "max_retries": 100,
    "priority": -100,
    "on_worker_lost": "fail",
    "max_lost_attempts": 1,
    "limits": {"memory_mb": 64, "nice": 5},
    "strict_parameters": True,
}


def body(**changes):
    return {"ref": "lab.a", "pack_ref": "lab", "label": "A", "entrypoint": "exit 3", **changes}


def without(changes, *names):
    return {key: value for key, value in changes.items() if key not in names}


def test_create_with_the_least(api):
    pack = make_pack(ref="lab")

    answer = api.post(ACTIONS, body(ref="test_1700000000000_ab12cd34.x"))

    assert (answer.status_code, set(answer.json()), set(answer.json()["data"])) == (201, {"data", "message"}, PRESENT)
    data = answer.json()["data"]
    assert (data["pack"], data["is_adhoc"], data["runtime"], data["timeout_seconds"], data["on_worker_lost"]) == (
        pack.pk, True, None, None, "abandon",
    )  # fmt: skip
    assert (data["max_lost_attempts"], data["max_retries"], data["priority"], data["limits"]) == (2, 0, 0, {})


def test_create_with_everything_and_read_it_again(api):
    make_pack(ref="lab")
    runtime = make_runtime()

    created = api.post(ACTIONS, body(runtime_ref=runtime.ref, **FULL)).json()["data"]

    assert {name: created[name] for name in FULL} == FULL
    assert (created["runtime"], created["runtime_ref"]) == (runtime.pk, runtime.ref)
    assert api.get(f"{ACTIONS}/lab.a").json() == {"data": created}
    (summary,) = api.get(ACTIONS).json()["data"]
    left_out = {"pack", "param_schema", "out_schema", "is_adhoc"} | (
        PRESENT - PRESENT_IN_SUMMARY - {"pack", "param_schema", "out_schema", "is_adhoc"}
    )
    assert summary == without(created, *left_out)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"ref": None}, 422, "VALIDATION_ERROR"),
        ({"label": ""}, 422, "VALIDATION_ERROR"),
        ({"label": "x" * 256}, 422, "VALIDATION_ERROR"),
        ({"entrypoint": ""}, 422, "VALIDATION_ERROR"),
        ({"entrypoint": "x" * 1025}, 422, "VALIDATION_ERROR"),
        ({"ref": "Lab.a"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "lab"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "lab.a.b"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "lab.a b"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "lab.a/b"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "lab.taken"}, 409, "CONFLICT"),
        ({"pack_ref": "none"}, 404, "NOT_FOUND"),
        ({"runtime_ref": "none"}, 404, "NOT_FOUND"),
        ({"runtime": 999999}, 422, "UNPROCESSABLE_ENTITY"),
        ({"runtime": 999999, "runtime_ref": "core.shell"}, 400, "BAD_REQUEST"),
        ({"runtime": "1"}, 422, "VALIDATION_ERROR"),
        ({"worker_selector": []}, 400, "BAD_REQUEST"),
        ({"worker_tolerations": [{}]}, 400, "BAD_REQUEST"),
        ({"worker_affinity": {"required": {}}}, 400, "BAD_REQUEST"),
        ({"limits": {"memory": 1}}, 422, "VALIDATION_ERROR"),
        ({"limits": {"memory_mb": 0}}, 422, "VALIDATION_ERROR"),
        ({"limits": {"nice": 20}}, 422, "VALIDATION_ERROR"),
        ({"limits": []}, 422, "VALIDATION_ERROR"),
        ({"timeout_seconds": 0}, 422, "VALIDATION_ERROR"),
        ({"timeout_seconds": 604801}, 422, "VALIDATION_ERROR"),
        ({"max_retries": 101}, 422, "VALIDATION_ERROR"),
        ({"priority": 101}, 422, "VALIDATION_ERROR"),
        ({"on_worker_lost": "cry"}, 422, "VALIDATION_ERROR"),
        ({"max_lost_attempts": 0}, 422, "VALIDATION_ERROR"),
        ({"log_retention_limit": 0}, 422, "VALIDATION_ERROR"),
        ({"artifact_retention_policy": "weeks"}, 422, "VALIDATION_ERROR"),
        ({"strict_parameters": "yes"}, 422, "VALIDATION_ERROR"),
        ({"param_schema": []}, 422, "VALIDATION_ERROR"),
        ({"param_schema": {"a": {"description": "x" * 262144}}}, 422, "VALIDATION_ERROR"),
        ({"required_worker_runtimes": {"python": 3}}, 422, "VALIDATION_ERROR"),
        ({"runtime_version_constraint": "newest"}, 422, "VALIDATION_ERROR"),
        ({"default_execution_permission_set_refs": ["no.such"]}, 403, "FORBIDDEN"),
    ],
)
def test_create_refuses(api, changes, status, code):
    make_action(pack=make_pack(ref="lab"), ref="lab.taken")

    answer = api.post(ACTIONS, body(**changes))

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert Action.objects.count() == 1


def test_change_keeps_what_is_not_named(api):
    make_pack(ref="lab")
    created = api.post(ACTIONS, body(runtime_ref=make_runtime().ref, **FULL)).json()["data"]

    untouched = api.put(f"{ACTIONS}/lab.a", {"label": None, "timeout_seconds": None, "unknown": 1}).json()["data"]
    assert without(untouched, "updated") == without(created, "updated")

    changed = api.put(f"{ACTIONS}/lab.a", {"label": "B", "worker_selector": {}, "limits": {}, "is_adhoc": False})
    assert (changed.status_code, changed.json()["message"]) == (200, "Action updated successfully")
    expected = {**without(created, "updated", "worker_selector"), "label": "B", "limits": {}}
    assert without(changed.json()["data"], "updated") == expected


def test_change_sets_and_clears(api):
    make_action(pack=make_pack(ref="lab"), ref="lab.a")
    patches = {
        "runtime_version_constraint": ">=3", "artifact_retention_policy": "hours", "artifact_retention_limit": 3,
        "log_retention_policy": "days", "log_retention_limit": 4, "timeout_seconds": 9,
    }  # fmt: skip

    data = api.put(f"{ACTIONS}/lab.a", {key: {"op": "set", "value": value} for key, value in patches.items()})
    assert {key: data.json()["data"][key] for key in patches} == patches

    data = api.put(f"{ACTIONS}/lab.a", {key: {"op": "clear"} for key in patches}).json()["data"]
    assert (set(data), data["timeout_seconds"]) == (PRESENT | {"runtime_ref"}, None)


def test_the_runtime_can_be_changed_by_ref_and_by_id(api):
    make_action(pack=make_pack(ref="lab"), ref="lab.a")
    python = make_runtime(ref="core.python")

    assert api.put(f"{ACTIONS}/lab.a", {"runtime_ref": "core.python"}).json()["data"]["runtime"] == python.pk
    shell = Runtime.objects.get(ref="core.shell")
    assert api.put(f"{ACTIONS}/lab.a", {"runtime": shell.pk}).json()["data"]["runtime_ref"] == "core.shell"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"label": ""}, 422),
        ({"timeout_seconds": 5}, 422),
        ({"timeout_seconds": {"op": "set", "value": 0}}, 422),
        ({"log_retention_policy": {"op": "set", "value": "weeks"}}, 422),
        ({"runtime_ref": "none"}, 404),
        ({"worker_tolerations": {}}, 400),
        ({"limits": {"x": 1}}, 422),
    ],
)
def test_change_refuses(api, changes, status):
    make_action(pack=make_pack(ref="lab"), ref="lab.a")

    assert api.put(f"{ACTIONS}/lab.a", changes).status_code == status


def test_delete_leaves_executions_with_their_ref(api):
    execution = make_execution(action=make_action(pack=make_pack(ref="lab"), ref="lab.a"))

    answer = api.delete(f"{ACTIONS}/lab.a")

    assert answer.json() == {"success": True, "message": "Action 'lab.a' deleted successfully"}
    execution.refresh_from_db()
    assert (execution.action_id, execution.action_ref) == (None, "lab.a")
    assert [api.delete(f"{ACTIONS}/lab.a").status_code, api.get(f"{ACTIONS}/lab.a").status_code] == [404, 404]


@pytest.mark.parametrize("path", ["", "?executable_with_current_access=true", "/search?q=action", "/pack"])
def test_lists_take_the_same_queries_for_one_and_for_many(api, path):
    pack = make_pack(ref="lab")
    url = "/api/v1/packs/lab/actions" if path == "/pack" else f"{ACTIONS}{path}"
    make_action(pack=pack)

    def queries():
        with CaptureQueriesContext(connection) as captured:
            found = api.get(url).json()["pagination"]["total_items"]
        return found, len(captured)

    one = queries()
    for number in range(20):
        make_action(pack=pack, runtime=make_runtime(ref=f"core.r{number}"))
    many = queries()

    assert (one[0], many[0]) == (1, 21)
    assert one[1] == many[1]


def test_the_list_is_ordered_by_code_point(api):
    pack = make_pack(ref="lab")
    for ref in ("lab.b", "lab.a_b", "lab.ab", "lab.a-b"):
        make_action(pack=pack, ref=ref)

    assert [row["ref"] for row in api.get(ACTIONS).json()["data"]] == ["lab.a-b", "lab.a_b", "lab.ab", "lab.b"]


def test_search_wants_every_word_somewhere(api):
    lab, other = make_pack(ref="lab"), make_pack(ref="other")
    make_action(pack=lab, ref="lab.check_port", label="Check a TCP port", description=None, runtime=None)
    make_action(pack=lab, ref="lab.ping", label="Ping", description="Checks whether a 100% _host_ is there")
    make_action(pack=other, ref="other.check", label="X", workflow_def=3)

    def found(query):
        return [row["ref"] for row in api.get(f"{ACTIONS}/search?{query}").json()["data"]]

    assert found("q=CHECK") == ["lab.check_port", "lab.ping", "other.check"]
    assert found("q=check+lab") == ["lab.check_port", "lab.ping"]
    assert found("q=tcp++PORT") == ["lab.check_port"]
    assert found("q=100%25") == ["lab.ping"]
    assert found("q=_host_") == ["lab.ping"]
    assert found("q=check&packs=other,lab") == ["lab.check_port", "lab.ping", "other.check"]
    assert found("packs=other") == ["other.check"]
    assert found("q=nothing") == []
    assert api.get(f"{ACTIONS}/search?packs=lab,none").status_code == 404
    rows = api.get(f"{ACTIONS}/search").json()["items"]
    assert rows[0] == {
        "ref": "lab.check_port", "pack_ref": "lab", "label": "Check a TCP port", "is_workflow": False,
        "accesses_mcp": False,
    }  # fmt: skip
    assert (rows[1]["runtime_ref"], rows[2]["is_workflow"]) == ("core.shell", True)


def test_without_a_grant_there_is_nothing(core_pack):
    client = signed_in(make_identity())

    for url in (
        ACTIONS,
        f"{ACTIONS}?executable_with_current_access=1",
        f"{ACTIONS}/search?q=echo",
        "/api/v1/packs/core/actions",
    ):
        assert client.get(url).json()["data"] == []
    assert client.get(f"{ACTIONS}/core.echo").status_code == 404
    assert client.post(ACTIONS, {}).json()["error"] == "Insufficient permissions: actions:create"
    assert client.put(f"{ACTIONS}/core.echo", {}).json()["error"] == "Insufficient permissions: actions:update"
    assert client.delete(f"{ACTIONS}/core.echo").json()["error"] == "Insufficient permissions: actions:delete"
    assert [client.put(f"{ACTIONS}/no.no", {}).status_code, client.delete(f"{ACTIONS}/no.no").status_code] == [
        404,
        404,
    ]


def test_parts_of_an_action_that_is_not_there_answer_404(api, core_pack):
    assert api.get(f"{ACTIONS}/core.echo/queue-stats").status_code == 404
    assert [api.get(f"{ACTIONS}/no.no/{name}").status_code for name in ("rules", "queue-stats")] == [404, 404]
    assert api.get(f"{ACTIONS}?executable_with_current_access=maybe").status_code == 400
