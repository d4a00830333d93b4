"""Upcoming firings, the state of a timer, and the list on the command line."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from apps.core import clock
from apps.events import timers
from apps.rules import services
from tests.clients import signed_in
from tests.factories import make_identity, make_rule
from tests.integration.events.timer_lab import set_back, timer_of, timer_rule

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("core_pack")]

BERLIN_HALF_PAST_TWO = {"expression": "0 30 2 * * *", "timezone": "Europe/Berlin"}


def upcoming(api: APIClient, ref: str, **query: Any) -> Any:
    return api.get(f"/api/v1/rules/{ref}/upcoming", query)


def test_upcoming_of_a_rule(api: APIClient) -> None:
    rule = timer_rule("core.crontimer", BERLIN_HALF_PAST_TWO)

    response = upcoming(api, rule.ref, count=2, **{"from": "2027-03-27T12:00:00Z"})

    assert response.status_code == 200
    assert response.json() == {
        "data": {
            "rule_ref": rule.ref,
            "trigger_ref": "core.crontimer",
            "enabled": True,
            "timezone": "Europe/Berlin",
            "misfire": "skip",
            "dst": "shift",
            "firings": [
                {"due_at": "2027-03-28T01:00:00Z", "local": "2027-03-28T03:00:00+02:00", "note": "dst_shifted"},
                {"due_at": "2027-03-29T00:30:00Z", "local": "2027-03-29T02:30:00+02:00", "note": None},
            ],
            "exhausted": False,
        }
    }


def test_upcoming_of_a_running_interval_counts_from_its_start(api: APIClient) -> None:
    rule = timer_rule()
    timer = set_back(rule, 30)

    firings = upcoming(api, rule.ref).json()["data"]["firings"]

    assert [firing["due_at"] for firing in firings] == [
        clock.as_text(timer.anchored_at + timedelta(seconds=60 * number)) for number in range(1, 21)
    ]


def test_disabled_rule_is_computed_as_if_enabled(api: APIClient) -> None:
    rule = timer_rule(enabled=False)

    data = upcoming(api, rule.ref, count=1, **{"from": "2030-01-01T00:00:00Z"}).json()["data"]

    assert (data["enabled"], data["firings"][0]["due_at"]) == (False, "2030-01-01T00:01:00Z")


def test_schedule_that_ends_is_exhausted(api: APIClient) -> None:
    past = timer_rule("core.datetimetimer", {"fire_at": "2020-01-01T00:00:00Z"})
    three = timer_rule("core.rruletimer", {"dtstart": "2040-01-01T00:00:00Z", "freq": "DAILY", "count": 3})

    of_past = upcoming(api, past.ref).json()["data"]
    of_three = upcoming(api, three.ref, **{"from": "2039-12-31T00:00:00Z"}).json()["data"]

    assert (of_past["firings"], of_past["exhausted"]) == ([], True)
    assert (len(of_three["firings"]), of_three["exhausted"]) == (3, True)


@pytest.mark.parametrize("query", [{"count": 0}, {"count": 201}, {"count": "x"}, {"from": "soon"}])
def test_wrong_query_is_refused(api: APIClient, query: dict[str, Any]) -> None:
    rule = timer_rule()

    assert upcoming(api, rule.ref, **query).status_code == 400


def test_rule_without_timer_trigger_or_readable_schedule(api: APIClient) -> None:
    other, faulty = make_rule(), timer_rule("core.crontimer", {"expression": "{{ x }}"})

    answers = [upcoming(api, ref) for ref in ("no.rule", other.ref, faulty.ref)]

    assert [answer.status_code for answer in answers] == [404, 400, 422]
    assert answers[1].json()["error"] == f"Rule '{other.ref}' has no timer trigger"
    assert answers[2].json()["error"].startswith("The schedule cannot be read: expression: must have 5, 6 or 7 fields")


def test_timer_of_a_rule(api: APIClient) -> None:
    rule = timer_rule()
    set_back(rule, 125)
    timers.fire_due()
    timer = timer_of(rule)

    response = api.get(f"/api/v1/rules/{rule.ref}/timer")

    assert response.status_code == 200
    assert response.json()["data"] == {
        "trigger_ref": "core.intervaltimer",
        "state": "active",
        "next_fire_at": clock.as_text(timer.next_fire_at),
        "last_due_at": clock.as_text(timer.last_due_at),
        "last_fired_at": clock.as_text(timer.last_fired_at),
        "execution_count": 1,
        "missed_count": 1,
        "last_missed_at": clock.as_text(timer.last_missed_at),
        "error": None,
    }


def test_timer_of_other_rules(api: APIClient) -> None:
    stopped, other = timer_rule(enabled=False), make_rule()

    answers = [api.get(f"/api/v1/rules/{ref}/timer") for ref in (stopped.ref, other.ref, "no.rule")]

    assert [answer.status_code for answer in answers] == [200, 400, 404]
    assert answers[0].json()["data"]["state"] == "stopped"
    assert answers[0].json()["data"]["next_fire_at"] is None


def test_rules_and_triggers_that_may_not_be_read_are_not_there() -> None:
    rule = timer_rule()
    stranger = signed_in(make_identity())

    answers = [
        stranger.get(f"/api/v1/rules/{rule.ref}/upcoming"),
        stranger.get(f"/api/v1/rules/{rule.ref}/timer"),
        stranger.post("/api/v1/triggers/core.crontimer/upcoming", {"trigger_params": {}}, format="json"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]


def preview(api: APIClient, ref: str, **body: Any) -> Any:
    return api.post(f"/api/v1/triggers/{ref}/upcoming", body, format="json")


def test_preview_of_settings_that_are_not_saved(api: APIClient) -> None:
    body = {"trigger_params": {"interval": 2, "unit": "hours"}, "count": 2, "from": "2030-01-01T00:00:00Z"}

    response = preview(api, "core.intervaltimer", **body)

    assert response.status_code == 200
    assert response.json()["data"] == {
        "rule_ref": None,
        "trigger_ref": "core.intervaltimer",
        "enabled": True,
        "timezone": "UTC",
        "misfire": "skip",
        "dst": "shift",
        "firings": [
            {"due_at": "2030-01-01T02:00:00Z", "local": "2030-01-01T02:00:00+00:00", "note": None},
            {"due_at": "2030-01-01T04:00:00Z", "local": "2030-01-01T04:00:00+00:00", "note": None},
        ],
        "exhausted": False,
    }


@pytest.mark.parametrize(
    ("ref", "body", "status"),
    [
        ("no.trigger", {"trigger_params": {}}, 404),
        ("core.alert", {"trigger_params": {}}, 400),
        ("core.crontimer", {}, 422),
        ("core.crontimer", {"trigger_params": {"expression": "@daily"}, "count": 201}, 422),
        ("core.crontimer", {"trigger_params": {"expression": "@daily"}, "from": "x"}, 422),
        ("core.crontimer", {"trigger_params": {"expression": "99 * * * * *"}}, 422),
        ("core.crontimer", {"trigger_params": {"expression": "0 0 0 30 2 *"}}, 422),
        ("core.crontimer", {"trigger_params": {"expression": "@daily"}, "from": "9999-12-31T00:00:00Z"}, 200),
        ("core.intervaltimer", {"trigger_params": {"interval": 10**18, "unit": "days"}}, 422),
        ("core.rruletimer", {"trigger_params": {"dtstart": "x", "freq": "DAILY"}}, 422),
    ],
)
def test_preview_refuses(api: APIClient, ref: str, body: dict[str, Any], status: int) -> None:
    assert preview(api, ref, **body).status_code == status


def test_timer_list() -> None:
    active, stopped = timer_rule(), timer_rule(enabled=False)
    invalid = timer_rule("core.crontimer", {"expression": "0 0 0 30 2 *"})
    table, found = StringIO(), StringIO()

    call_command("timer_list", stdout=table)
    call_command("timer_list", "--json", "--state", "active", "--rule", "lab.*", stdout=found)

    lines = table.getvalue().splitlines()
    assert lines[0].split()[:3] == ["RULE", "KIND", "STATE"]
    assert lines[1].split()[:3] == [active.ref, "interval", "active"]
    assert {line.split()[0] for line in lines[2:]} == {stopped.ref, invalid.ref}
    assert "expression: has no time within 5 years" in table.getvalue()
    [shown] = json.loads(found.getvalue())
    assert (shown["rule_ref"], shown["next_fire_at"]) == (active.ref, clock.as_text(timer_of(active).next_fire_at))
    services.delete_rule(active.pk)
