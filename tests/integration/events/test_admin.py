"""The console's pages of triggers, sensors, timers and webhook requests."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.events.models import Sensor, SensorProcess, Timer, Trigger, WebhookEventLog
from apps.events.sensors.logs import artifact_ref, files_of
from apps.events.webhooks import services as webhooks
from apps.executions import storage
from apps.executions.models import Artifact, ArtifactType, ArtifactVersion
from tests.factories import (
    make_admin,
    make_event,
    make_identity,
    make_rule,
    make_sensor,
    make_trigger,
    make_worker,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def console():
    client = Client()
    client.force_login(make_admin(login="olga"))
    return client


def page_of(row, name="change"):
    return reverse(f"admin:events_{row._meta.model_name}_{name}", args=[row.pk])


def text_of(answer):
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def messages_of(answer):
    return [str(message) for message in answer.context["messages"]]


# --- Triggers ---------------------------------------------------------------------------------------------------


def test_a_trigger_shows_its_rules_and_latest_events(console):
    trigger = make_trigger()
    on, off = make_rule(trigger=trigger), make_rule(trigger=trigger, enabled=False)
    event = make_event(trigger=trigger, source_ref="webhook")
    elsewhere = make_event()

    context = console.get(page_of(trigger)).context

    assert [rule["enabled"] for rule in context["rules"]] == [on.enabled, off.enabled]
    assert (context["enabled_rules"], context["rule_count"]) == (1, 2)
    shown = [str(each["link"]) for each in context["events"]]
    assert len(shown) == 1
    assert f"#{event.pk}" in shown[0]
    assert f"#{elsewhere.pk}" not in shown[0]


def test_a_trigger_is_switched_by_its_service(console):
    """A rule's timer hears of it, which a plain save of the row would not tell."""
    trigger = make_trigger()

    question = console.get(page_of(trigger, "disable"))
    answer = console.post(page_of(trigger, "disable"), {"confirmed": "yes"}, follow=True)

    assert "no rule fires on them" in text_of(question)
    assert messages_of(answer) == [f"{trigger} is disabled"]
    assert Trigger.objects.filter(pk=trigger.pk, enabled=False).exists()
    console.post(page_of(trigger, "enable"))
    assert Trigger.objects.filter(pk=trigger.pk, enabled=True).exists()


def test_nothing_is_switched_by_a_link(console):
    trigger = make_trigger(enabled=False)

    console.get(page_of(trigger, "enable"))

    assert Trigger.objects.filter(pk=trigger.pk, enabled=False).exists()


def test_a_webhook_is_switched_on_renewed_and_off(console):
    trigger = make_trigger()

    console.post(page_of(trigger, "webhook-on"))
    trigger.refresh_from_db()
    first = trigger.webhook_key
    console.post(page_of(trigger, "webhook-new-key"), {"confirmed": "yes"})
    trigger.refresh_from_db()
    second = trigger.webhook_key
    console.post(page_of(trigger, "webhook-off"), {"confirmed": "yes"})
    trigger.refresh_from_db()

    assert first is not None
    assert second is not None
    assert first != second
    assert (trigger.webhook_enabled, trigger.webhook_key) == (False, None)


def test_the_key_is_shown_only_to_who_asks_for_it(console):
    trigger = webhooks.enable(make_trigger())
    assert trigger.webhook_key is not None

    page, listed = console.get(page_of(trigger)), console.get(reverse("admin:events_trigger_changelist"))
    url = console.get(page_of(trigger, "webhook_url"))

    for answer in (page, listed):
        assert trigger.webhook_key not in text_of(answer)
        assert f"{trigger.webhook_key[:7]}...{trigger.webhook_key[-4:]}" in text_of(answer)
    assert f"/api/v1/webhooks/{trigger.webhook_key}" in text_of(url)


def test_the_url_of_a_webhook_that_is_off_is_not_there(console):
    assert "The webhook is off." in text_of(console.get(page_of(make_trigger(), "webhook_url")))


def test_secrets_of_a_webhook_are_never_shown(console):
    trigger = webhooks.configure(make_trigger(), {"hmac": {"enabled": True, "secret": "hush-hush"}})

    text = text_of(console.get(page_of(trigger)))

    assert "hush-hush" not in text
    assert "redacted" in text


def test_a_trigger_shows_the_latest_requests_to_its_webhook(console):
    trigger = make_trigger()
    WebhookEventLog.objects.create(
        trigger=trigger,
        trigger_ref=trigger.ref,
        webhook_key="wh_x",
        status_code=401,
        error_message="Signature required",
    )

    assert "Signature required" in text_of(console.get(page_of(trigger)))


def test_several_are_disabled_from_the_list_after_a_question(console):
    triggers = [make_trigger(), make_trigger()]
    chosen = {"action": "disable_selected", "_selected_action": [trigger.pk for trigger in triggers]}
    where = reverse("admin:events_trigger_changelist")

    question = console.post(where, chosen)
    assert Trigger.objects.filter(enabled=True).count() == 2
    answer = console.post(where, {**chosen, "confirmed": "yes"}, follow=True)

    assert "Disable: 2 triggers" in text_of(question)
    assert sorted(messages_of(answer)) == sorted(f"{trigger} is disabled" for trigger in triggers)
    assert Trigger.objects.filter(enabled=True).count() == 0


def test_who_may_not_enter_reaches_no_page(console):
    trigger = webhooks.enable(make_trigger())
    stranger = Client()
    stranger.force_login(make_identity())

    answers = [
        stranger.get(page_of(trigger)),
        stranger.get(page_of(trigger, "webhook_url")),
        stranger.post(page_of(trigger, "webhook-off"), {"confirmed": "yes"}),
    ]

    assert [answer.status_code for answer in answers] == [302, 302, 302]
    assert Trigger.objects.filter(pk=trigger.pk, webhook_enabled=True).exists()


def test_a_row_that_is_gone_is_said_to_be_gone(console):
    answer = console.get(reverse("admin:events_trigger_change", args=[10**9]), follow=True)

    assert messages_of(answer) == [f"There is no trigger {10**9} any more."]


# --- Sensors ----------------------------------------------------------------------------------------------------


def standstill(console, sensor):
    return console.get(page_of(sensor)).context["standstill"]


def running(sensor, worker=None, **fields):
    worker = worker or make_worker()
    return SensorProcess.objects.create(
        **{"sensor": sensor, "sensor_ref": sensor.ref, "worker": worker, "status": "running", **fields}
    )


def test_a_sensor_says_why_it_does_not_run(console):
    trigger = make_trigger()
    sensor = make_sensor(trigger)

    assert standstill(console, sensor) == "No enabled rule uses one of its triggers, so it has nothing to do."
    make_rule(trigger=trigger)
    assert "No worker that takes sensors runs it yet" in standstill(console, sensor)
    process = running(sensor, status="backoff", consecutive_failures=4)
    assert standstill(console, sensor) == "It ended 4 times in a row."
    process.set(next_restart_at=timezone.now() + timedelta(seconds=60, milliseconds=500))
    assert standstill(console, sensor) == "It ended 4 times in a row; the next start is in 1 min."
    process.set(status="running", consecutive_failures=0)
    assert standstill(console, sensor) == ""
    process.set(status="stopped")
    Sensor.objects.filter(pk=sensor.pk).update(enabled=False)
    assert standstill(console, sensor) == "It is disabled."


def test_the_sensor_of_the_timers_has_no_process(console):
    sensor = make_sensor(make_trigger(ref="core.crontimer"))

    assert standstill(console, sensor) == "The scheduler itself serves these triggers; there is no process."
    assert "scheduler" in text_of(console.get(reverse("admin:events_sensor_changelist")))


def test_the_process_at_work_says_how_a_sensor_stands(console):
    sensor = make_sensor(make_trigger())
    running(sensor, pid=4711)
    running(sensor, status="stopped")

    answer = console.get(page_of(sensor))

    assert answer.context["current"].pid == 4711
    assert len(answer.context["processes"]) == 2


def test_a_sensor_that_fails_shows_its_last_words(console):
    sensor = make_sensor(make_trigger())
    running(sensor, status="backoff", consecutive_failures=1, last_signal=9, stderr_excerpt="no such <host>")

    text = text_of(console.get(page_of(sensor)))

    assert "no such &lt;host&gt;" in text
    assert "signal 9" in text


def test_a_sensor_shows_the_end_of_its_logs(console, settings, tmp_path):
    settings.ARTIFACTS_DIR = tmp_path
    sensor = make_sensor(make_trigger())
    name = files_of(sensor.pk, "stdout", 1).name(1)
    with storage.create_file(name) as file:
        file.write(b"first\n" * 500 + b"\x1b[31mthe last\x1b[0m <b>line</b>\n")
    artifact = Artifact.objects.create(ref=artifact_ref(sensor.ref, "stdout"), type=ArtifactType.FILE_TEXT)
    ArtifactVersion.objects.create(artifact=artifact, version=1, storage_name=name, file_path=name)

    (log,) = console.get(page_of(sensor)).context["logs"]

    assert log["text"].endswith("first\nthe last <b>line</b>\n")
    assert log["text"].count("first") == 99
    assert "the last &lt;b&gt;line&lt;/b&gt;" in text_of(console.get(page_of(sensor)))


def test_a_sensor_is_switched_off_after_a_question_and_on_at_once(console):
    sensor = make_sensor(make_trigger())
    before = sensor.rules_version

    console.post(page_of(sensor, "disable"), {"confirmed": "yes"})
    assert Sensor.objects.filter(pk=sensor.pk, enabled=False, rules_version__gt=before).exists()
    console.post(page_of(sensor, "enable"))

    assert Sensor.objects.filter(pk=sensor.pk, enabled=True).exists()


# --- Timers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, spec, timezone_name, words",
    [
        ("interval", {"interval": 5, "unit": "minutes"}, "UTC", "every 5 minutes"),
        ("cron", {"expression": "0 9 * * 1-5"}, "Europe/Berlin", "0 9 * * 1-5</span> (Europe/Berlin)"),
        ("datetime", {"fire_at": "2031-01-01T00:00:00Z"}, "UTC", "once, at 2031-01-01T00:00:00Z"),
        ("rrule", {"freq": "DAILY"}, "UTC", "DAILY"),
        ("rrule", "not an object", "UTC", "?"),
    ],
)
def test_timers_say_when_they_fire(console, kind, spec, timezone_name, words):
    Timer.objects.create(
        rule=1,
        rule_ref="a.b",
        trigger_ref="core.x",
        kind=kind,
        spec=spec,
        timezone=timezone_name,
        anchored_at=timezone.now(),
    )

    assert words in text_of(console.get(reverse("admin:events_timer_changelist")))
