"""Secret parameters and results: kept apart and encrypted, given to the process, seen nowhere else (auth.md 10, 11)."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.apps import apps
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder

from apps.actions.models import Action
from apps.core.markers import MARKER
from apps.executions.log_versions import log_directory
from apps.executions.models import Execution
from apps.executions.secrets import real_config, real_result
from apps.executions.services import (
    ExecutionRequest,
    RetryChanges,
    request_execution,
    retry_execution,
)
from apps.identity.models import PermissionAssignment, PermissionSet
from apps.keys.models import SecretValue
from attune.embedded import EmbeddedWorker
from tests.clients import signed_in
from tests.factories import make_action, make_admin, make_request, make_runtime
from tests.processes import wait_until

SECRET = "c4nary/ä+7 Q"
SCHEMA = {"password": {"type": "string", "secret": True}, "host": {"type": "string"}}


def plain_rows() -> str:
    """All there is in the tables, as text."""
    return "\n".join(
        json.dumps(list(model._default_manager.values()), cls=DjangoJSONEncoder, default=str, ensure_ascii=False)
        for model in apps.get_models()
        if model._meta.managed
    )


def ended(execution: Execution) -> Execution:
    wait_until(lambda: Execution.objects.get(pk=execution.pk).is_finished, what=f"the end of {execution}")
    return Execution.objects.get(pk=execution.pk)


def shell(entrypoint: str, **fields: Any) -> Action:
    return make_action(entrypoint=entrypoint, runtime=make_runtime(), param_schema=SCHEMA, **fields)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "parameters", [{"password": SECRET, "host": "db1"}, {"parameters": {"password": SECRET, "host": "db1"}}]
)
def test_the_row_holds_a_marker(parameters: dict[str, Any]) -> None:
    execution = make_request(action=shell("true"), parameters=parameters)

    execution.refresh_from_db()
    shown = execution.config.get("parameters", execution.config)
    assert shown == {"password": dict(MARKER), "host": "db1"}
    assert real_config(execution) == parameters
    assert SECRET not in plain_rows()


@pytest.mark.django_db
def test_a_retry_takes_the_secret_over() -> None:
    execution = make_request(action=shell("true"), parameters={"password": SECRET, "host": "db1"})
    Execution.objects.filter(pk=execution.pk).update(status="failed")
    admin = make_admin()

    plain = retry_execution(execution.pk, by=admin, changes=RetryChanges())
    Execution.objects.filter(pk=plain.pk).update(status="failed")
    edited = {"password": dict(MARKER), "host": "db2"}
    changed = retry_execution(plain.pk, by=admin, changes=RetryChanges(parameters=edited))

    for row, host in ((plain, "db1"), (changed, "db2")):
        row.refresh_from_db()
        assert row.config == {"password": dict(MARKER), "host": host}
        assert real_config(row) == {"password": SECRET, "host": host}


@pytest.mark.django_db
def test_what_no_schema_calls_secret_is_kept_as_it_is() -> None:
    execution = make_request(action=make_action(), parameters={"password": "open"})

    assert execution.config == {"password": "open"}
    assert not SecretValue.objects.exists()


def test_a_run_gets_the_secret_and_prints_none_of_it(worker: EmbeddedWorker) -> None:
    forms = [SECRET, base64.b64encode(SECRET.encode()).decode(), quote(SECRET), json.dumps(SECRET)]
    entrypoint = (
        "import base64, json, sys, urllib.parse\n"
        "def run(password, host):\n"
        "    for text in (password, base64.b64encode(password.encode()).decode(), urllib.parse.quote(password),\n"
        "                 json.dumps(password)):\n"
        "        print('it is', text)\n"
        "    sys.stderr.write('and ' + password)\n"
        "    return {'length': len(password), 'same': password, password: 1}\n"
    )
    action = make_action(
        entrypoint=entrypoint, runtime=make_runtime(ref="core.python"), param_schema=SCHEMA, output_format="json"
    )

    execution = ended(
        request_execution(ExecutionRequest(action=action, parameters={"password": SECRET, "host": "db1"}))
    )

    assert execution.status == "completed", execution.result
    assert execution.result["data"] == {"length": len(SECRET), "same": "***", "***": 1}
    log = Path(execution.result["stdout_log"]).read_text()
    assert log.count("***") >= 4
    stored = plain_rows() + log + Path(execution.result["stderr_log"]).read_text()
    assert [form for form in forms if form.strip('"') in stored] == []


def test_an_error_does_not_show_the_secret(worker: EmbeddedWorker) -> None:
    action = shell('echo "cannot sign in with $password" >&2; exit 4', parameter_format="json")
    python = make_action(
        entrypoint="def run(password, host):\n    raise ValueError(password)",
        runtime=make_runtime(ref="core.python"),
        param_schema=SCHEMA,
    )
    given = {"password": SECRET, "host": "db1"}

    executions = [request_execution(ExecutionRequest(action=each, parameters=given)) for each in (action, python)]

    for execution in map(ended, executions):
        assert execution.status == "failed"
        assert SECRET not in json.dumps(execution.result, ensure_ascii=False)
    assert "***" in Execution.objects.get(pk=executions[1].pk).result["error"]


def test_secret_results_are_kept_apart(worker: EmbeddedWorker) -> None:
    action = make_action(
        entrypoint="def run():\n    return {'token': '-'.join(('minted', 't0ken')), 'user': 'ann'}",
        runtime=make_runtime(ref="core.python"),
        out_schema={"token": {"type": "string", "secret": True}, "user": {"type": "string"}},
        output_format="json",
    )

    execution = ended(request_execution(ExecutionRequest(action=action)))

    assert execution.result["data"] == {"token": dict(MARKER), "user": "ann"}
    assert real_result(execution)["data"] == {"token": "minted-t0ken", "user": "ann"}
    directory = Path(execution.result["stdout_log"]).parent
    files = "".join(path.read_text() for path in directory.iterdir())
    assert "minted-t0ken" not in plain_rows() + files
    assert "ann" in files


def test_who_follows_the_log_does_not_see_secret_results(worker: EmbeddedWorker, tmp_path: Path) -> None:
    action = shell(
        """echo working; echo '{"token": "'"$host"'-t0ken", "pin": 483215}'; echo printed >&2; """
        f"until [ -e {tmp_path}/go ]; do sleep 0.02; done; exit 1",
        out_schema={"token": {"type": "string", "secret": True}, "pin": {"type": "integer", "secret": True}},
    )
    parameters = {"password": "minted", "host": "minted"}
    execution = request_execution(ExecutionRequest(action=action, parameters=parameters))
    directory = log_directory(execution.pk)
    stdout, stderr = directory / "stdout.log", directory / "stderr.log"

    wait_until(lambda: stderr.exists() and stderr.read_text(), what="the output")
    seen = stdout.read_text()
    (tmp_path / "go").touch()
    execution = ended(execution)

    assert seen == "working\n"
    assert stdout.read_text() == 'working\n{"token": "***", "pin": ***}\n'
    assert execution.result["data"] == {"token": dict(MARKER), "pin": dict(MARKER)}
    assert real_result(execution)["data"] == {"token": "minted-t0ken", "pin": 483215}  # as the program wrote it


def test_artifacts_directory_holds_no_secret(worker: EmbeddedWorker) -> None:
    action = shell('cat; echo "$password"; printf %s "$password" | base64')
    execution = ended(
        request_execution(ExecutionRequest(action=action, parameters={"password": SECRET, "host": "db1"}))
    )

    assert execution.status == "completed"
    files = [path for path in Path(settings.ARTIFACTS_DIR).rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.django_db
def test_decrypting_takes_a_grant_of_its_own() -> None:
    execution = make_request(action=shell("true"), parameters={"password": SECRET, "host": "db1"})
    admin = make_admin()
    url = f"/api/v1/executions/{execution.pk}"

    plain, refused = (signed_in(admin).get(url + query) for query in ("", "?include_secret_values=true"))
    PermissionAssignment.objects.create(
        identity=admin,
        permset=PermissionSet.objects.create(
            ref="lab.opener", grants=[{"resource": "executions", "actions": ["decrypt"]}]
        ),
    )
    shown = signed_in(admin).get(f"{url}?include_secret_values=true")

    assert (plain.status_code, plain.json()["data"]["config"]["password"]) == (200, dict(MARKER))
    assert refused.status_code == 403
    assert shown.json()["data"]["config"] == {"password": SECRET, "host": "db1"}


@pytest.mark.django_db
def test_a_marker_is_no_value_unless_it_stands_for_one() -> None:
    action = shell("true")
    execution = make_request(action=action, parameters={"password": SECRET, "host": "db1"})
    Execution.objects.filter(pk=execution.pk).update(status="failed")
    client = signed_in(make_admin())
    new = {"action_ref": action.ref, "parameters": {"password": dict(MARKER)}}

    refused = client.post("/api/v1/executions/execute", new, format="json")
    of_nothing = client.post(
        f"/api/v1/executions/{execution.pk}/retry", {"parameters": {"host": dict(MARKER)}}, format="json"
    )
    taken_over = client.post(
        f"/api/v1/executions/{execution.pk}/retry", {"parameters": {"password": dict(MARKER)}}, format="json"
    )

    assert (refused.status_code, of_nothing.status_code, taken_over.status_code) == (422, 422, 201)
    repeated = Execution.objects.get(pk=taken_over.json()["data"]["id"])
    assert real_config(repeated) == {"password": SECRET}
