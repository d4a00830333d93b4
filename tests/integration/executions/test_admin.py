"""The console's pages of executions: the form that runs an action, one execution, the verbs."""

import pytest
from django.test import Client
from django.urls import reverse

from apps.core.markers import MARKER
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.secrets import real_config
from apps.executions.states import Status
from tests.factories import make_action, make_admin, make_execution, make_worker

pytestmark = pytest.mark.django_db

SCHEMA = {
    "host": {"type": "string", "required": True, "position": 0, "description": "Where to"},
    "port": {"type": "integer", "default": 22, "maximum": 65535, "position": 1},
    "ratio": {"type": "number", "position": 2},
    "force": {"type": "boolean", "default": False, "position": 3},
    "mode": {"enum": ["fast", "full"], "position": 4},
    "tags": {"type": "array", "position": 5},
    "options": {"type": "object", "position": 6},
    "token": {"type": "string", "secret": True, "position": 7},
}


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    """Logs of their own: the rows of the next test have the same ids."""
    settings.ARTIFACTS_DIR = tmp_path
    return tmp_path


@pytest.fixture
def olga():
    return make_admin(login="olga")


@pytest.fixture
def console(olga):
    client = Client()
    client.force_login(olga)
    return client


def page_of(execution, *more):
    return (
        reverse("admin:executions_execution_change", args=[execution.pk])
        if not more
        else reverse(f"admin:executions_execution_{more[0]}", args=[execution.pk])
    )


def run_page(action):
    return reverse("admin:executions_execution_run", args=[action.pk])


def fields(**values):
    """The form's fields by the names of the parameters; they are numbered in the order of the schema."""
    return {f"parameter_{list(SCHEMA).index(name)}": value for name, value in values.items()}


def messages_of(answer):
    return [str(message) for message in answer.context["messages"]]


# --- The form ---------------------------------------------------------------------------------------------------


def test_the_form_gives_each_parameter_its_type(console, olga):
    action = make_action(param_schema=SCHEMA)
    given = fields(
        host="a\r\nb ", port="2222", ratio="0.5", force="true", mode="full", tags='["x", 1]', options='{"k": null}', token="t0p",
    )  # fmt: skip

    answer = console.post(
        run_page(action), {**given, "priority": "7", "timeout_seconds": "60", "env_vars": '{"A": "b"}'}
    )

    execution = Execution.objects.get()
    assert answer.headers["Location"] == page_of(execution)
    assert execution.config["token"] == dict(MARKER)
    assert real_config(execution) == {
        "host": "a\nb ", "port": 2222, "ratio": 0.5, "force": True, "mode": "full", "tags": ["x", 1], "options": {"k": None},
        "token": "t0p",
    }  # fmt: skip
    assert (execution.executor, execution.priority, execution.timeout_seconds) == (olga, 7, 60)
    assert (execution.env_vars, execution.status, execution.not_before) == ({"A": "b"}, Status.REQUESTED, None)


def test_a_field_left_empty_is_not_given(console):
    action = make_action(param_schema=SCHEMA)

    console.post(run_page(action), fields(host="a", port="", force="", tags=""))

    assert Execution.objects.get().config == {"host": "a"}


@pytest.mark.parametrize(
    "given, complaint",
    [
        (fields(), "This field is required."),
        (fields(host="a", port="many"), "port must be a whole number, not &#x27;many&#x27;."),
        (fields(host="a", tags="{}"), "tags must be a JSON list such as [1, 2]."),
        ({**fields(host="a"), "as_json": "[1]"}, "This must be a JSON object"),
        ({**fields(host="a"), "as_json": "{"}, "This is not JSON: "),
        ({**fields(host="a"), "env_vars": '{"A": 1}'}, "A must be a string."),
        ({**fields(host="a"), "priority": "101"}, "less than or equal to 100"),
        ({**fields(host="a", port="70000"), "validate": "on"}, "Invalid parameters for action"),
    ],
)
def test_what_does_not_fit_is_said_beside_the_field(console, given, complaint):
    action = make_action(param_schema=SCHEMA)

    answer = console.post(run_page(action), given)

    assert answer.status_code == 200
    assert complaint in answer.content.decode()
    assert not Execution.objects.exists()


def test_json_replaces_the_fields(console):
    action = make_action(param_schema=SCHEMA)

    console.post(run_page(action), {**fields(port="not looked at"), "as_json": '{"host": "", "more": [1]}'})

    assert Execution.objects.get().config == {"host": "", "more": [1]}


def test_an_action_without_a_schema_takes_json(console):
    action = make_action(param_schema=None)

    assert console.get(run_page(action)).status_code == 200
    console.post(run_page(action), {"as_json": '{"a": 1}'})

    assert Execution.objects.get().config == {"a": 1}


def test_a_delay_is_a_time_before_which_it_does_not_start(console):
    action = make_action()

    console.post(run_page(action), {"delay_seconds": "3600"})

    execution = Execution.objects.get()
    assert 3590 < (execution.not_before - execution.created).total_seconds() < 3610


def test_running_again_fills_the_form_in_but_never_secrets(console):
    action = make_action(param_schema=SCHEMA)
    earlier = make_execution(
        action=action, config={"host": "a", "port": 80, "tags": ["x"], "token": "t0psecret", "force": True}
    )

    answer = console.get(run_page(action) + f"?from={earlier.pk}")

    form = answer.context["form"]
    assert {form.names[name]: value for name, value in form.initial.items()} == {
        "host": "a", "port": "80", "tags": '["x"]', "force": "true"
    }  # fmt: skip
    assert "t0psecret" not in answer.content.decode()


def test_the_form_of_an_action_that_is_gone_leads_back(console):
    answer = console.get(reverse("admin:executions_execution_run", args=[999]), follow=True)

    assert messages_of(answer) == ["This action no longer exists."]


# --- One execution ----------------------------------------------------------------------------------------------


def write_log(artifacts, execution, stream, content):
    path = artifacts / f"execution_{execution.pk}" / f"{stream}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_page_shows_the_end_of_the_log_as_text(console, artifacts):
    execution = make_execution(status=Status.RUNNING, worker=make_worker())
    write_log(
        artifacts,
        execution,
        "stdout",
        b"first\n" + b"line\n" * 500 + "\x1b[32m<b>ü</b>\x1b[0m\x00 \n".encode() + b"\xff",
    )

    answer = console.get(page_of(execution))

    [log] = answer.context["logs"]
    assert log.text.splitlines()[-2:] == ["<b>ü</b>� ", "�"]
    assert (len(log.text.splitlines()), log.note) == (200, "The end of it")
    assert "&lt;b&gt;ü&lt;/b&gt;" in answer.content.decode()


def test_a_long_line_does_not_make_a_long_page(console, artifacts):
    execution = make_execution(status=Status.RUNNING, worker=make_worker())
    write_log(artifacts, execution, "stderr", "ü".encode() * 3_000_000)

    answer = console.get(page_of(execution))

    assert len(answer.content) < 200_000


def test_a_log_that_retention_removed_keeps_its_beginning(console):
    execution = make_execution(status=Status.FAILED, result={"stdout": "it began so", "stdout_log": "/gone"})

    [log] = console.get(page_of(execution)).context["logs"]

    assert (log.text, log.url) == ("it began so", "")


def test_a_page_names_what_is_related(console, olga):
    action = make_action()
    first = make_execution(action=action, status=Status.FAILED, executor=olga)
    retry = make_execution(action=action, status=Status.RUNNING, original_execution=first, retry_of=first, attempt=2)
    child = make_execution(action=action, parent=retry)
    ExecutionHistory.objects.create(
        operation="INSERT",
        entity_id=retry.pk,
        new_values={"status": "requested"},
        actor=f"identity:{olga.pk}",
        reason="again",
    )

    context = console.get(page_of(retry)).context

    assert ([row.pk for row in context["attempts"]], [row.pk for row in context["children"]]) == (
        [first.pk, retry.pk],
        [child.pk],
    )
    assert [(change.status, change.note) for change in context["changes"]] == [("requested", "olga · again")]


def test_a_waiting_execution_says_why(console):
    make_worker(name="small", runtimes=("nodejs",))
    execution = make_execution(status=Status.REQUESTED)

    text = console.get(page_of(execution)).content.decode()

    assert "Why it does not run" in text
    assert "no_worker" in text
    assert "small" in text


def test_the_page_refreshes_itself_until_the_end(console):
    execution = make_execution(status=Status.RUNNING, worker=make_worker())
    assert "hx-trigger" in console.get(page_of(execution, "live")).content.decode()

    Execution.objects.filter(pk=execution.pk).update(status=Status.COMPLETED)

    assert "hx-trigger" not in console.get(page_of(execution, "live")).content.decode()
    assert console.get(reverse("admin:executions_execution_live", args=[999])).status_code == 204


def test_a_page_makes_as_many_queries_for_many_attempts_and_children(console, django_assert_num_queries):
    action = make_action()
    first = make_execution(action=action, status=Status.COMPLETED)
    rows = {"action": action, "worker": make_worker(), "status": Status.COMPLETED}
    for _number in range(2):
        make_execution(original_execution=first, **rows)
        make_execution(parent=first, **rows)
    console.get(page_of(first))
    with django_assert_num_queries(9, exact=False) as made:
        console.get(page_of(first))
    for _number in range(5):
        make_execution(original_execution=first, **rows)
        make_execution(parent=first, **rows)

    with django_assert_num_queries(len(made)):
        console.get(page_of(first))


@pytest.mark.parametrize("path", ["/admin/executions/execution/999/change/", "/admin/executions/execution/999/cancel/",
                                  "/admin/executions/execution/none/change/"])  # fmt: skip
def test_an_execution_that_is_not_there_leads_to_the_list(console, path):
    answer = console.get(path, follow=True)

    assert messages_of(answer) == [f"There is no execution {path.split('/')[4]} any more."]


# --- The verbs --------------------------------------------------------------------------------------------------


def confirmed(console, execution, verb, **given):
    return console.post(page_of(execution, verb), {"confirmed": "yes", **given}, follow=True)


def test_asking_changes_nothing(console):
    execution = make_execution(status=Status.REQUESTED)

    assert console.get(page_of(execution, "cancel")).status_code == 200
    assert console.post(page_of(execution, "cancel")).status_code == 200

    execution.refresh_from_db()
    assert execution.status == Status.REQUESTED


def test_cancel(console, olga):
    execution = make_execution(status=Status.REQUESTED)

    answer = confirmed(console, execution, "cancel", reason="wrong host")

    execution.refresh_from_db()
    assert (execution.status, execution.cancelled_by) == (Status.CANCELLED, olga)
    assert ExecutionHistory.objects.get(entity_id=execution.pk).reason == "wrong host"
    assert messages_of(answer) == [f"Cancel {execution}: done"]


def test_force_close(console):
    execution = make_execution(status=Status.RUNNING, worker=make_worker())

    confirmed(console, execution, "force-close")

    execution.refresh_from_db()
    assert (execution.status, execution.result["error"]) == (Status.ABANDONED, "Execution force-closed by olga")


def test_retry_leads_to_the_new_attempt(console, olga):
    execution = make_execution(status=Status.COMPLETED, config={"a": 1})

    answer = confirmed(console, execution, "retry")

    attempt = Execution.objects.get(retry_of=execution)
    assert answer.redirect_chain == [(page_of(attempt), 302)]
    assert (attempt.config, attempt.executor, attempt.retry_reason) == ({"a": 1}, olga, "manual_retry")


def test_pin_and_unpin(console):
    execution = make_execution(status=Status.COMPLETED)

    confirmed(console, execution, "pin")
    assert Execution.objects.get().pinned is True

    confirmed(console, execution, "unpin")
    assert Execution.objects.get().pinned is False


def test_a_refusal_is_said(console):
    execution = make_execution(status=Status.COMPLETED)

    answer = confirmed(console, execution, "cancel")

    assert messages_of(answer) == [f"Execution {execution.pk} is in status 'completed' and cannot be cancelled"]


@pytest.mark.parametrize(
    "status, verbs",
    [
        (Status.REQUESTED, ["Cancel", "Force-close", "Pin"]),
        (Status.RUNNING, ["Cancel", "Force-close", "Pin"]),
        (Status.CANCELING, ["Force-close", "Pin"]),
        (Status.FAILED, ["Retry", "Pin"]),
    ],
)
def test_a_page_offers_what_can_be_done(console, status, verbs):
    execution = make_execution(status=status)

    context = console.get(page_of(execution)).context

    assert [verb["label"] for verb in context["verbs"]] == verbs


def test_many_are_cancelled_from_the_list(console):
    waiting = [make_execution(status=Status.REQUESTED) for _row in range(2)]
    ended = make_execution(status=Status.COMPLETED)
    chosen = {"action": "cancel_selected", "_selected_action": [row.pk for row in (*waiting, ended)]}
    url = reverse("admin:executions_execution_changelist")

    question = console.post(url, chosen)
    answer = console.post(url, {**chosen, "confirmed": "yes"}, follow=True)

    assert "Cancel 3 executions" in question.content.decode()
    assert sorted(Execution.objects.values_list("status", flat=True)) == ["cancelled", "cancelled", "completed"]
    assert f"Execution {ended.pk} is in status 'completed' and cannot be cancelled" in messages_of(answer)


def test_a_verb_needs_the_token_of_the_form():
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_admin())
    execution = make_execution(status=Status.REQUESTED)

    assert client.post(page_of(execution, "cancel"), {"confirmed": "yes"}).status_code == 403
