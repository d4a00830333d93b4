"""What is told of policies: why something waits, the groups of a policy, the line of an action."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.executions.dispatch import dispatch_waiting
from apps.executions.models import AdmissionEntry
from apps.executions.services import explain
from apps.executions.states import Status
from tests.clients import signed_in
from tests.factories import grant, make_action, make_execution, make_holder, make_policy, make_request, make_worker

pytestmark = pytest.mark.django_db
Announced = list[tuple[int, int, int]]
SECRET = {"token": {"type": "string", "secret": True}, "site": {}}


@pytest.fixture
def api(db: None) -> APIClient:
    return signed_in()


def test_why_names_policy_group_and_holders(announced: Announced) -> None:
    make_worker()
    action = make_action()
    policy = make_policy(action=action, parameters=["site"], threshold=1)
    first, second, third = (make_request(action=action, parameters={"site": "a"}) for _ in range(3))
    dispatch_waiting()

    answer = explain(third)

    assert answer["summary"] == f"Policy {policy.ref}: 1 of 1 running for site=a"
    assert answer["position"] == 2
    assert [reason["code"] for reason in answer["reasons"]] == ["policy_concurrency", "behind_others"]
    assert answer["reasons"][0]["details"] == {
        "policy_ref": policy.ref, "key": {"site": "a"}, "threshold": 1, "active": 1, "active_executions": [first.pk],
    }  # fmt: skip
    assert answer["reasons"][1]["details"] == {"ahead": 1}
    assert explain(second)["position"] == 1


def test_why_tells_when_a_rate_has_a_slot_again(announced: Announced) -> None:
    make_worker()
    action = make_action()
    policy = make_policy(action=action, max_executions=1, window_seconds=3600)
    make_request(action=action)
    waiting = make_request(action=action)
    dispatch_waiting()

    details = explain(waiting)["reasons"][0]["details"]

    assert details.pop("next_slot_at") > AdmissionEntry.objects.get().admitted_at.isoformat()
    assert details == {"policy_ref": policy.ref, "key": {}, "max_executions": 1, "window_seconds": 3600}


def test_why_of_a_policy_that_cancelled_says_so(announced: Announced) -> None:
    make_worker()
    action = make_action()
    make_policy(action=action, method="cancel")
    _first, second = make_request(action=action), make_request(action=action)
    dispatch_waiting()
    second.refresh_from_db()
    reason = explain(second)["reasons"][0]
    assert (reason["code"], reason["details"]["ended_by"]) == ("finished", "policy")


def test_state_shows_groups_and_hides_secrets(api: APIClient, announced: Announced) -> None:
    make_worker()
    action = make_action(param_schema=SECRET)
    policy = make_policy(action=action, parameters=["token", "site"], threshold=1, max_executions=9, window_seconds=60)
    rows = [make_request(action=action, parameters={"token": "s3cret", "site": site}) for site in "abbb"]
    dispatch_waiting()

    answer = api.get(f"/api/v1/policies/{policy.ref}/state")

    data = answer.json()["data"]
    assert data["policy_ref"] == policy.ref
    hidden = {"$attune_secret": True, "redacted": True}
    assert [group["key"] for group in data["groups"]] == [
        {"site": "b", "token": hidden},
        {"site": "a", "token": hidden},
    ]
    first = data["groups"][0]
    assert (first["active"], first["active_executions"], first["waiting"]) == (1, [rows[1].pk], 2)
    assert (first["started_in_window"], first["next_slot_at"]) == (1, None)
    assert first["oldest_waiting_since"] is not None
    assert "s3cret" not in answer.content.decode()


def test_execute_over_a_full_line_is_refused(api: APIClient) -> None:
    action = make_action()
    policy = make_policy(action=action, max_waiting=1)
    body = {"action_ref": action.ref}
    assert api.post("/api/v1/executions/execute", body, format="json").status_code == 201
    refused = api.post("/api/v1/executions/execute", body, format="json")
    assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_REQUESTS")
    assert policy.ref in refused.json()["error"]
    assert refused.headers["Retry-After"] == "1"


def test_queue_stats_count_the_line_of_an_action(api: APIClient, announced: Announced) -> None:
    make_worker()
    action = make_action()
    address = f"/api/v1/actions/{action.ref}/queue-stats"
    assert api.get(address).status_code == 404
    make_policy(action=action, threshold=2)
    make_execution(action=action, status=Status.FAILED)
    rows = [make_request(action=action) for _ in range(5)]
    dispatch_waiting()

    stats: dict[str, Any] = api.get(address).json()["data"]

    assert stats.pop("last_updated")
    assert stats.pop("oldest_enqueued_at") == rows[2].created.isoformat().replace("+00:00", "Z")
    assert stats == {
        "action_id": action.pk, "action_ref": action.ref, "queue_length": 3, "active_count": 2, "max_concurrent": 2,
        "total_enqueued": 6, "total_completed": 1,
    }  # fmt: skip
    stranger = signed_in(make_holder(grant("actions:read", refs=["other.one"])))
    assert stranger.get(address).status_code == 404
