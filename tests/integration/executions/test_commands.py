"""The commands for executions, as far as nothing runs: what they ask for, show and refuse."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.executions.following import Following, Readers, exit_code_of
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.states import Status
from tests.factories import make_action, make_admin, make_execution, make_worker

pytestmark = pytest.mark.django_db

SCHEMA = {"n": {"type": "integer"}, "force": {"type": "boolean"}, "tags": {"type": "array"}}


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACTS_DIR = tmp_path
    return tmp_path


def run(*words):
    out, err = StringIO(), StringIO()
    call_command(*words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refused(*words):
    with pytest.raises(CommandError) as refusal:
        run(*words)
    assert refusal.value.returncode == 2
    return str(refusal.value)


def write_log(artifacts, execution, stream, content):
    path = artifacts / f"execution_{execution.pk}" / f"{stream}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


# --- attune_run -------------------------------------------------------------------------------------------------


def test_parameters_are_read_by_the_schema():
    make_action(ref="web.deploy", param_schema=SCHEMA)

    out, _err = run(
        "attune_run", "web.deploy", "--param", "n=5", "--param", "force=yes", "--param", "tags=[1]", "--param", "m=a=b"
    )

    execution = Execution.objects.get()
    assert execution.config == {"n": 5, "force": True, "tags": [1], "m": "a=b"}
    assert out == f"Execution {execution.pk} of web.deploy was asked for.\n"


def test_json_gives_parameters_and_single_ones_win(tmp_path):
    make_action(ref="web.deploy", param_schema=SCHEMA)
    (tmp_path / "p.json").write_text('{"n": 1, "force": false}')

    run("attune_run", "web.deploy", "--params-json", f"@{tmp_path / 'p.json'}", "--param", "n=2")

    assert Execution.objects.get().config == {"n": 2, "force": False}


def test_what_else_a_run_may_be_given():
    make_action(ref="web.deploy")
    olga = make_admin(login="olga")

    out, _err = run(
        "attune_run", "web.deploy", "--as", "olga", "--priority", "9", "--timeout", "60", "--env", "A=b=c", "--json"
    )  # fmt: skip

    execution = Execution.objects.get()
    assert (execution.executor, execution.priority, execution.timeout_seconds) == (olga, 9, 60)
    assert execution.env_vars == {"A": "b=c"}
    answer = json.loads(out)
    assert (answer["id"], answer["status"], "env_vars" in answer) == (execution.pk, "requested", False)


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["web.deplo"], "There is no action 'web.deplo'. There is, for example: web.deploy."),
        (["nothing"], "There is no action 'nothing'. There is, for example: web.deploy."),
        (["web.deploy", "--param", "n"], "--param 'n' is not of the form NAME=VALUE."),
        (["web.deploy", "--param", "n=x"], "Parameter 'n' must be a whole number, not 'x'."),
        (["web.deploy", "--params-json", "{"], "--params-json is not JSON: Expecting property name enclosed in double quotes "
         "at line 1, column 2."),
        (["web.deploy", "--params-json", "[]"], '--params-json must be a JSON object such as {"message": "hello"}.'),
        (["web.deploy", "--params-json", "@/nope"], "The file '/nope' cannot be read: No such file or directory."),
        (["web.deploy", "--env", "LD_PRELOAD=/x"], "The environment variable 'LD_PRELOAD' is a reserved name."),
        (["web.deploy", "--as", "nobody"], "There is no identity 'nobody'."),
        (["web.deploy", "--check", "--params-json", '{"n": "x"}'], "Invalid parameters for action 'web.deploy': "),
    ],
)  # fmt: skip
def test_a_mistake_is_said_in_one_sentence(words, sentence):
    make_action(ref="web.deploy", param_schema=SCHEMA)

    assert refused("attune_run", *words).startswith(sentence)
    assert not Execution.objects.exists()


@pytest.mark.parametrize(
    "status, exit_code, mirrored",
    [
        (Status.COMPLETED, 0, 0), (Status.FAILED, 3, 3), (Status.FAILED, 255, 255), (Status.FAILED, None, 1),
        (Status.FAILED, -1, 1), (Status.FAILED, 0, 1), (Status.FAILED, 300, 1), (Status.TIMEOUT, -1, 124),
        (Status.CANCELLED, 0, 130), (Status.CANCELLED, None, 130), (Status.ABANDONED, None, 1), (Status.COMPLETED, None, 0),
    ],
)  # fmt: skip
def test_the_exit_status_mirrors_how_it_ended(status, exit_code, mirrored):
    assert exit_code_of(Execution(status=status, exit_code=exit_code)) == mirrored


def test_following_passes_on_every_byte_and_cuts_no_character(artifacts):
    execution = make_execution(status=Status.COMPLETED)
    text = "ü" * 100_001
    write_log(artifacts, execution, "stdout", b"x" + text.encode())
    write_log(artifacts, execution, "stderr", b"\xff\n\xc3")
    heard = []

    with Following(execution.pk, Readers(output=lambda stream, part: heard.append((stream, part)))) as following:
        ended = following.until_end()

    assert ended.pk == execution.pk
    assert "".join(part for stream, part in heard if stream == "stdout") == "x" + text
    assert [part for stream, part in heard if stream == "stderr"] == ["�\n", "�"]


# --- execution_list, execution_show -----------------------------------------------------------------------------


def test_the_list_shows_the_newest_first():
    action = make_action(ref="core.echo")
    done = make_execution(
        action=action, status=Status.COMPLETED, worker=make_worker(name="w1"), exit_code=0, duration_ms=12
    )
    waiting = make_execution(action=action)

    out, _err = run("execution_list")

    head, first, second = out.splitlines()
    assert head.split() == ["ID", "ACTION", "STATUS", "CREATED", "(UTC)", "RAN", "EXIT", "WORKER"]
    assert (first.split()[0], first.split()[-3:]) == (str(waiting.pk), ["-", "-", "-"])
    assert (second.split()[0], second.split()[-4:]) == (str(done.pk), ["12", "ms", "0", "w1"])


def test_the_list_is_narrowed():
    echo, deploy = make_action(ref="core.echo"), make_action(ref="web.deploy")
    failed = make_execution(action=echo, status=Status.FAILED)
    timeout = make_execution(action=deploy, status=Status.TIMEOUT)
    make_execution(action=echo)

    def ids(*words):
        return [row["id"] for row in json.loads(run("execution_list", "--json", *words)[0])]

    assert ids("--status", "failed", "--status", "timeout") == [timeout.pk, failed.pk]
    assert ids("--action", "web.deploy") == [timeout.pk]
    assert ids("--action", f"{deploy.pack_ref}.*") == [timeout.pk]
    assert len(ids("--limit", "2")) == 2
    assert run("execution_list", "--status", "running")[0] == "No executions.\n"


def test_the_list_makes_one_query(django_assert_num_queries):
    for _row in range(3):
        make_execution(worker=make_worker())

    with django_assert_num_queries(1):
        run("execution_list")


def test_one_execution_is_told_from_request_to_end(artifacts):
    action = make_action(ref="core.echo", param_schema={"token": {"secret": True}})
    created = timezone.now()
    execution = make_execution(
        action=action, status=Status.FAILED, exit_code=3, duration_ms=1500, config={"token": "t0psecret", "n": 1},
        result={"error": "no", "exit_code": 3}, executor=make_admin(login="olga"),
    )  # fmt: skip
    Execution.objects.filter(pk=execution.pk).update(created=created)
    for number, status in enumerate(("requested", "running", "failed")):
        ExecutionHistory.objects.create(
            operation="UPDATE", entity_id=execution.pk, time=created + timedelta(seconds=number), new_values={"status": status},
            actor="worker:1",
        )  # fmt: skip
    write_log(artifacts, execution, "stdout", b"one\ntwo\nthree\n")

    out, _err = run("execution_show", str(execution.pk), "--lines", "2")

    assert out.startswith(f"Execution {execution.pk} of core.echo: failed\n")
    assert "  asked for by olga\n" in out
    assert [line.split() for line in out.splitlines() if "worker:1" in line] == [
        ["requested", "+0", "ms", "worker:1"], ["running", "+1.0", "s", "worker:1"], ["failed", "+2.0", "s", "worker:1"],
    ]  # fmt: skip
    assert "stdout (its last 2 lines)\ntwo\nthree\n" in out
    assert "t0psecret" not in out
    assert '"n": 1' in out


def test_a_waiting_execution_says_why():
    execution = make_execution()

    out, _err = run("execution_show", str(execution.pk))
    answer = json.loads(run("execution_show", str(execution.pk), "--json")[0])

    assert "No worker is registered" in out
    assert (answer["execution"]["id"], answer["why"]["reasons"][0]["code"]) == (execution.pk, "no_worker")


def test_an_execution_that_is_not_there():
    assert refused("execution_show", "999") == "Execution with ID 999 not found"
