"""The console: who gets in, that every row has its page, that lists stay cheap."""

from datetime import timedelta

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.events.models import SensorProcess, SensorProcessHistory, Timer, TimerFire, WebhookEventLog
from apps.executions.models import Artifact, ArtifactVersion, Demand, Execution, ExecutionHistory
from apps.executions.states import Status
from apps.identity.models import (
    AuditEvent,
    IdempotencyRecord,
    IdentityRoleAssignment,
    IntegrationToken,
    PermissionAssignment,
    PermissionSet,
    PermissionSetRoleAssignment,
    SignInFailures,
)
from apps.identity.services import create_identity
from apps.inquiries.models import Inquiry
from apps.queues.models import WorkQueueDispatch, WorkQueueItem
from apps.rules.models import Enforcement, RuleDecision, RuleWindow
from apps.workers.models import EnvironmentStatus, PackEnvironment, RuntimeVersion, WorkerHistory
from apps.workflows.models import WorkflowExecution, WorkflowLogLine, WorkflowTask, WorkflowVariable
from apps.workflows.services import create_workflow
from tests.factories import (
    make_action,
    make_admin,
    make_event,
    make_execution,
    make_identity,
    make_key,
    make_pack,
    make_policy,
    make_queue,
    make_rule,
    make_runtime,
    make_sensor,
    make_trigger,
    make_worker,
)

pytestmark = pytest.mark.django_db

HOSTILE = "<img src=x onerror=alert(1)>"
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
NAMES = [model._meta.label for model in MODELS]


def name_of(model, page):
    return f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"


def list_of(model):
    return reverse(name_of(model, "changelist"))


@pytest.fixture
def console():
    client = Client()
    client.force_login(make_admin(login="olga"))
    return client


def number_of(made):
    """How many queries were made, without the database's clock, which is asked once a minute."""
    return len([query for query in made.captured_queries if "clock_timestamp" not in query["sql"]])


def fill(number):
    """Make one more row of every table."""
    pack = make_pack(
        label=HOSTILE, warnings=[HOSTILE], config={"token": "s3cret-value"}, conf_schema={"token": {"secret": True}}
    )
    make_key(pack, name=HOSTILE, value="s3cret-value", encrypted=number == 0)
    runtime = make_runtime(ref=f"{pack.ref}.shell")
    RuntimeVersion.objects.create(runtime=runtime, runtime_ref=runtime.ref, version="1.0")
    PackEnvironment.objects.create(
        pack=pack, pack_ref=pack.ref, runtime=runtime, runtime_ref=runtime.ref, path="/x",
        status=EnvironmentStatus.FAILED, last_error=HOSTILE,
    )  # fmt: skip
    worker = make_worker(cordoned=number == 0, cordon_reason=HOSTILE, cordoned_by=make_admin())
    WorkerHistory.objects.create(
        operation="UPDATE", entity_id=worker.pk, changed_fields=["status"], new_values={"status": HOSTILE}
    )
    action = make_action(
        pack=pack, runtime=runtime, description=HOSTILE, param_schema={"token": {"secret": True}, HOSTILE: {}}
    )
    make_policy(action=action, name=HOSTILE, description=HOSTILE, parameters=["token", HOSTILE])
    execution = make_execution(
        action=action, worker=worker, executor=make_admin(), status=Status.FAILED, config={"token": "s3cret-value", "x": HOSTILE},
        env_vars={"NAME": "s3cret-value"}, result={"error": HOSTILE, "succeeded": False}, exit_code=1, duration_ms=5,
        started_at=timezone.now(), finished_at=timezone.now(),
    )  # fmt: skip
    ExecutionHistory.objects.create(
        operation="UPDATE", entity_id=execution.pk, entity_ref=action.ref, changed_fields=["status"],
        new_values={"status": "failed"}, actor=f"worker:{worker.pk}", reason=HOSTILE,
    )  # fmt: skip
    Inquiry.objects.create(
        execution=execution, prompt=HOSTILE, response_schema={"token": {"secret": True}, HOSTILE: {}}, status="responded",
        response={"token": "s3cret-value", "x": HOSTILE}, responded_at=timezone.now(), assigned_to=make_admin(),
    )  # fmt: skip
    artifact = Artifact.objects.create(ref=f"{action.ref}.log", type="file_text", name=HOSTILE)
    ArtifactVersion.objects.create(
        artifact=artifact, version=1, execution=execution.pk, content=b"x", meta={"a": HOSTILE}
    )
    Demand.objects.create(key=f"{number}", requirements={"runtime": [HOSTILE]})
    IdempotencyRecord.objects.create(
        scope=HOSTILE, key=f"{number}", request_hash="x", response_status=201, response_body={"token": "s3cret-value"},
        expires_at=timezone.now() + timedelta(days=1),
    )  # fmt: skip
    SignInFailures.objects.create(key=f"{number}", failures=1, since=timezone.now())
    fill_rights(number)
    fill_events(number, worker=worker, action=action)
    fill_queues(action=action, execution=execution)
    fill_workflows(number, pack=pack)


def fill_queues(*, action, execution):
    queue = make_queue(
        action=action, label=HOSTILE, description=HOSTILE, item_schema={"token": {"secret": True}, HOSTILE: {}},
        action_params={"token": "s3cret-value", "x": HOSTILE}, owner_identity=make_admin(), config={HOSTILE: 1},
    )  # fmt: skip
    WorkQueueItem.objects.create(
        queue=queue, queue_ref=queue.ref, item_key=HOSTILE, payload={"token": "s3cret-value", "x": HOSTILE},
        metadata={HOSTILE: HOSTILE}, last_error=HOSTILE, ack_summary=HOSTILE, requested_by_identity=make_admin(),
        leased_execution=execution, attempts=[{"execution": execution.pk, "status": HOSTILE, "error": HOSTILE}],
    )  # fmt: skip
    WorkQueueDispatch.objects.create(queue=queue, queue_ref=queue.ref, execution=execution, leased_item_count=1)


def fill_workflows(number, *, pack):
    task = {
        "name": HOSTILE,
        "action": HOSTILE,
        "when": HOSTILE,
        "next": [{"when": HOSTILE, "publish": HOSTILE, "do": [HOSTILE]}],
    }
    create_workflow(
        ref=f"{pack.ref}.flow{number}", pack_ref=pack.ref, label=HOSTILE, version=HOSTILE, description=HOSTILE, tags=[HOSTILE],
        param_schema={"token": {"secret": True}, HOSTILE: {}}, definition={"tasks": [task], HOSTILE: HOSTILE},
    )  # fmt: skip
    fill_runs(f"{pack.ref}.flow{number}", task=task)


def fill_runs(ref, *, task):
    execution = make_execution(action=make_action(ref=f"{ref}_run"), workflow_def=1, status=Status.FAILED)
    run = WorkflowExecution.objects.create(
        execution=execution, task_graph={"ref": ref, "pack_ref": HOSTILE, "definition": {"tasks": [task]}}, status="failed",
        error_message=HOSTILE, paused=True, pause_reason=HOSTILE,
    )  # fmt: skip
    WorkflowTask.objects.create(
        workflow_execution=run, name=HOSTILE, status="failed", outcome="failed", error=HOSTILE, triggered_by=HOSTILE, block=HOSTILE,
        transitions=[{"index": 0, "when": HOSTILE, "fired": True, "error": HOSTILE}], published={HOSTILE: HOSTILE},
    )  # fmt: skip
    WorkflowVariable.objects.create(workflow_execution=run, name=HOSTILE, value=HOSTILE)
    WorkflowLogLine.objects.create(workflow_execution=run, level="ERROR", text=HOSTILE)


def fill_rights(number):
    permset = PermissionSet.objects.create(
        ref=f"tests.set{number}",
        label=HOSTILE,
        description=HOSTILE,
        grants=[{"resource": HOSTILE, "actions": [HOSTILE]}],
    )
    identity = make_identity(display_name=HOSTILE, attributes={HOSTILE: HOSTILE})
    PermissionAssignment.objects.create(identity=identity, permset=permset)
    PermissionSetRoleAssignment.objects.create(permset=permset, role=HOSTILE)
    IdentityRoleAssignment.objects.create(identity=identity, role=HOSTILE, source="ldap", managed=True)
    IntegrationToken.objects.create(
        identity=identity, label=HOSTILE, description=HOSTILE, token_hash=f"s3cret-value{number}", token_prefix="attune_it_abcd",
        token_suffix="wxyz", created_by=identity, last_used_ip=HOSTILE, revoked_at=timezone.now(), revoked_by=identity,
        revocation_reason=HOSTILE,
    )  # fmt: skip
    AuditEvent.objects.create(
        category="admin", event_type="admin.identity.created", outcome="success", actor_login=HOSTILE, actor_identity=1,
        actor_ip=HOSTILE, actor_user_agent=HOSTILE, resource_type=HOSTILE, resource_ref=HOSTILE, http_method="POST",
        http_path=HOSTILE, http_status=201, duration_ms=3, details={HOSTILE: HOSTILE},
        request_id="00000000-0000-0000-0000-000000000000",
    )  # fmt: skip


def fill_events(number, *, worker, action):
    secret = {"token": {"type": "string", "secret": True}}
    trigger = make_trigger(
        label=HOSTILE, description=HOSTILE, param_schema={**secret, HOSTILE: {}}, out_schema=secret, webhook_enabled=True,
        webhook_key=f"wh_s3cret-value{number}abcd", webhook_config={"hmac": {"secret": "s3cret-value"}, HOSTILE: {"a": 1}},
    )  # fmt: skip
    sensor = make_sensor(trigger, label=HOSTILE, param_schema=secret, config={"token": "s3cret-value", "x": HOSTILE})
    SensorProcess.objects.create(
        sensor=sensor, sensor_ref=sensor.ref, worker=worker, status="backoff", consecutive_failures=3,
        stderr_excerpt=HOSTILE, last_exit_code=1,
    )  # fmt: skip
    SensorProcessHistory.objects.create(
        operation="UPDATE",
        entity_id=1,
        entity_ref=sensor.ref,
        changed_fields=["status"],
        new_values={"status": HOSTILE},
    )
    rule = make_rule(
        trigger=trigger, action=action, label=HOSTILE, description=HOSTILE, conditions={"expression": f"{HOSTILE} <"},
        trigger_params={"token": "s3cret-value", "x": HOSTILE}, action_params={"token": "s3cret-value", "x": HOSTILE},
        throttle={"max": 1, "window_seconds": 1, "key": HOSTILE}, owner_identity=make_admin(),
    )  # fmt: skip
    event = make_event(
        trigger=trigger, payload={"token": "s3cret-value", HOSTILE: HOSTILE}, config={"x": HOSTILE}, source=sensor,
        source_ref=HOSTILE, rule=rule.pk, rule_ref=rule.ref, idempotency_key=HOSTILE,
    )  # fmt: skip
    enforcement = Enforcement.objects.create(
        rule=rule, rule_ref=rule.ref, trigger_ref=trigger.ref, event=event.pk, config={"x": HOSTILE},
        payload={"token": "s3cret-value", "x": HOSTILE}, status="disabled",
    )  # fmt: skip
    make_execution(action=action, enforcement=enforcement.pk, rule_ref=rule.ref, trigger_ref=trigger.ref)
    steps = [
        {"index": 0, "kind": "field", "field": HOSTILE, "operator": "lt", "value": HOSTILE, "actual": HOSTILE, "result": False},
        {"index": 1, "kind": "expression", "expression": HOSTILE, "operands": [{"path": HOSTILE, "value": HOSTILE}],
         "result": None, "error": HOSTILE},
    ]  # fmt: skip
    RuleDecision.objects.create(
        event=event.pk, rule=rule, rule_ref=rule.ref, trigger_ref=trigger.ref, outcome="throttled", reason=HOSTILE, error=HOSTILE,
        key=HOSTILE, criteria=steps, params_warnings=[{"path": HOSTILE, "template": HOSTILE, "error": HOSTILE}],
        enforcement=enforcement, duration_us=5,
    )  # fmt: skip
    RuleWindow.objects.create(
        rule=rule, kind="throttle", group_key=HOSTILE, window_start=timezone.now(), expires_at=timezone.now()
    )
    now = timezone.now()
    Timer.objects.create(
        rule=rule.pk, rule_ref=rule.ref, trigger_ref=trigger.ref, kind="cron", spec={"expression": HOSTILE}, state="invalid",
        error=HOSTILE, anchored_at=now, last_missed_at=now, missed_count=2,
    )  # fmt: skip
    TimerFire.objects.create(rule=rule.pk, rule_ref=rule.ref, due_at=now, fired_at=now, event=event, outcome="fired")
    WebhookEventLog.objects.create(
        trigger=trigger, trigger_ref=trigger.ref, webhook_key="wh_s3cr...abcd", event_id=event.pk, source_ip=HOSTILE,
        user_agent=HOSTILE, headers={HOSTILE: HOSTILE}, status_code=401, error_message=HOSTILE, hmac_verified=False,
        payload_size_bytes=9, processing_time_ms=3,
    )  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_every_list_and_page_shows_text_and_no_secret(console, model):
    fill(0)
    row = model.objects.order_by("-pk").first()

    pages = [console.get(list_of(model)), console.get(reverse(name_of(model, "change"), args=[row.pk]), follow=True)]

    assert [page.status_code for page in pages] == [200, 200]
    for page in pages:
        text = page.content.decode()
        assert HOSTILE not in text
        assert "s3cret-value" not in text
        assert "argon2" not in text


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_every_list_makes_as_many_queries_for_three_rows_as_for_one(console, model):
    def queries():
        with CaptureQueriesContext(connection) as made:
            assert console.get(list_of(model)).status_code == 200
        return number_of(made)

    fill(0)
    console.get(list_of(model))  # what is read once and kept
    one = queries()
    fill(1)
    fill(2)

    assert queries() == one


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_what_machines_write_is_only_looked_at(console, model):
    if model._meta.label in (
        "identity.Identity",
        "identity.PermissionSet",
        "identity.IntegrationToken",
        "keys.Key",
        "rules.Rule",
        "actions.Policy",
    ):
        pytest.skip("people make and change these")
    fill(0)
    row = model.objects.order_by("-pk").first()
    change, delete = (reverse(name_of(model, page), args=[row.pk]) for page in ("change", "delete"))

    answers = [
        console.get(reverse(name_of(model, "add"))),
        console.post(change, {}),
        console.post(delete, {"post": "yes"}),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert model.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_no_address_of_a_list_is_a_fault(console, model):
    fill(0)
    names = [
        str(each.parameter_name)
        for each in admin.site._registry[model].list_filter
        if isinstance(each, type) and issubclass(each, admin.SimpleListFilter)
    ]

    for value in ("\0", "9" * 30, "²"):
        for name in ("q", *names):
            answer = console.get(list_of(model), {name: value})
            assert answer.status_code in (200, 302), (name, value)
    for pk in ("²", "0", "9" * 30, "x"):
        assert console.get(f"{list_of(model)}{pk}/change/").status_code == 302, pk


def test_overview_says_how_it_stands(console):
    worker = make_worker(name="w1", slots=4)
    for status in ("requested", "running", "completed", "completed", "failed"):
        make_execution(status=status, worker=worker if status == "running" else None)

    context = console.get("/admin/").context

    assert (context["waiting"], context["running"], context["ended"], context["gone_wrong"]) == ("1", "1", 3, 1)
    assert [(share.status, share.count) for share in context["shares"]] == [
        ("requested", 1), ("running", 1), ("completed", 2), ("failed", 1)
    ]  # fmt: skip
    assert [(row["worker"].name, row["health"], row["running"], row["slots"]) for row in context["workers"]] == [
        ("w1", "busy", 1, 4)
    ]


def test_overview_makes_the_same_queries_for_many_rows(console):
    def queries():
        with CaptureQueriesContext(connection) as made:
            console.get("/admin/")
        return number_of(made)

    fill(0)
    console.get("/admin/")
    one = queries()
    fill(1)
    fill(2)

    assert queries() == one


# --- Who gets in ------------------------------------------------------------------------------------------------


def sign_in(login, password):
    client = Client()
    return client, client.post("/admin/login/?next=/admin/packs/pack/", {"username": login, "password": password})


def test_an_administrator_signs_in_with_login_and_password():
    make_admin()
    create_identity("olga", password="correct horse", permission_sets=["core.admin"])

    client, answer = sign_in("olga", "correct horse")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/packs/pack/")
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    "login, password, words",
    [
        ("olga", "wrong horse", "Invalid login or password."),
        ("nobody", "correct horse", "Invalid login or password."),
        ("frozen", "correct horse", "Invalid login or password."),
        ("paul", "correct horse", "no permission set gives it anything"),
    ],
)
def test_others_stay_outside(login, password, words):
    make_admin()
    create_identity("olga", password="correct horse", permission_sets=["core.admin"])
    create_identity("frozen", password="correct horse", permission_sets=["core.admin"]).set(frozen=True)
    create_identity("paul", password="correct horse")

    client, answer = sign_in(login, password)

    assert words in answer.content.decode()
    assert client.get("/admin/").headers["Location"] == "/admin/login/?next=/admin/"


def test_after_ten_failures_the_page_says_to_wait():
    for _attempt in range(10):
        sign_in("olga", "wrong horse")

    _client, answer = sign_in("olga", "wrong horse")

    assert "Too many failed attempts" in answer.content.decode()


def test_who_loses_the_right_is_out_with_the_next_request(console):
    PermissionAssignment.objects.all().delete()

    assert console.get("/admin/executions/execution/").status_code == 302


@pytest.mark.parametrize("path", ["/", "/admin", "/login"])
def test_what_people_type_leads_to_the_console(console, path):
    answer = console.get(path, follow=True)

    assert (answer.status_code, answer.redirect_chain[-1][0]) == (200, "/admin/")


def test_root_of_the_api_leads_to_its_description(client):
    answer = client.get("/api/v1/", follow=True)

    assert (answer.status_code, answer.redirect_chain) == (200, [("/docs", 302)])


def test_pages_allow_no_inline_script_and_no_frame(console):
    for path in ("/admin/login/", "/admin/", "/admin/executions/execution/"):
        policy = console.get(path).headers["Content-Security-Policy"]
        assert "script-src 'self' 'unsafe-eval';" in policy
        assert "frame-ancestors 'none'" in policy


# --- Lists ------------------------------------------------------------------------------------------------------


def shown(console, **query):
    answer = console.get(list_of(Execution), query)
    assert answer.status_code == 200
    return sorted(row.pk for row in answer.context["cl"].result_list)


def test_executions_are_found_by_what_an_operator_knows(console):
    echo, deploy = make_action(ref="core.echo"), make_action(ref="web.deploy")
    first, second = make_execution(action=echo), make_execution(action=deploy, parent=None)
    child = make_execution(action=deploy, parent=second, executor=make_identity())

    assert shown(console, q=str(first.pk)) == [first.pk]
    assert shown(console, q=f"#{first.pk}") == [first.pk]
    assert shown(console, q="core.echo") == [first.pk]
    assert shown(console, q="DEPLOY") == [second.pk, child.pk]
    assert shown(console, q=echo.pack_ref) == [first.pk]
    assert shown(console, q="9" * 30) == []
    assert shown(console, q=str(Execution.objects.get(pk=first.pk).correlation_id)) == [first.pk]
    assert shown(console, parent=second.pk) == [child.pk]
    assert shown(console, executor=child.executor_id) == [child.pk]
    assert shown(console, executor="not a number") == []
    assert shown(console, correlation_id="not a uuid") == []
    assert shown(console, pack_ref=deploy.pack_ref) == [second.pk, child.pk]
    assert shown(console, since="1h") == [first.pk, second.pk, child.pk]
    assert shown(console, status__in="completed,failed") == []


def test_a_search_finds_executions_of_an_action_that_is_gone(console):
    action = make_action(ref="old.thing")
    execution = make_execution(action=action)
    action.delete()

    assert shown(console, q="old.thing") == [execution.pk]


def test_a_list_counts_no_further_than_it_is_of_use(console, monkeypatch):
    monkeypatch.setattr("apps.core.admin.COUNT_LIMIT", 2)
    for _row in range(4):
        make_execution(action=make_action())

    page = console.get(list_of(Execution))

    assert page.context["cl"].result_count == 2
    assert "more than 2" in " ".join(page.content.decode().split())


# --- Passwords --------------------------------------------------------------------------------------------------


def change_own(old, new, again=None):
    olga = create_identity("olga", password="correct horse", permission_sets=["core.admin"])
    client = Client()
    client.force_login(olga)
    fields = {"old_password": old, "new_password1": new, "new_password2": again or new}
    return client, client.post("/admin/password_change/", fields)


def test_one_changes_the_own_password_and_stays_signed_in():
    make_admin()

    client, answer = change_own("correct horse", "battery staple")

    assert answer.headers["Location"] == "/admin/password_change/done/"
    assert client.get("/admin/").status_code == 200
    assert sign_in("olga", "battery staple")[1].status_code == 302
    assert sign_in("olga", "correct horse")[1].status_code == 200


@pytest.mark.parametrize(
    "old, new, again, words",
    [
        ("wrong horse", "battery staple", None, "Current password is wrong"),
        ("correct horse", "short", None, "A password has 8 to 128 characters."),
        ("correct horse", "battery staple", "battery stable", "didn’t match"),
    ],
)
def test_a_password_that_will_not_do_is_refused(old, new, again, words):
    make_admin()

    _client, answer = change_own(old, new, again)

    assert words in answer.content.decode()
    assert sign_in("olga", "correct horse")[1].status_code == 302
