"""Policies in the console."""

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from apps.actions.models import Policy
from apps.executions.dispatch import dispatch_waiting
from tests.factories import grant, make_action, make_admin, make_holder, make_policy, make_request, make_worker

pytestmark = pytest.mark.django_db
Announced = list[tuple[int, int, int]]
LIST, ADD = "admin:actions_policy_changelist", "admin:actions_policy_add"


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(make_admin())
    return client


def page(policy: Policy, name: str = "change") -> str:
    return reverse(f"admin:actions_policy_{name}", args=[policy.pk])


def test_policy_is_made_changed_disabled_and_deleted(console: Client) -> None:
    action = make_action()
    given = {
        "ref": "one", "name": "One", "action_ref": action.ref, "threshold": "2", "parameters": "site, env",
        "method": "enqueue", "enabled": "on",
    }  # fmt: skip
    console.post(reverse(ADD), given)
    policy = Policy.objects.get(ref="one")
    assert (policy.action, policy.threshold, policy.parameters) == (action, 2, ["site", "env"])

    refused = console.post(page(policy, "edit"), {"name": "One", "method": "enqueue", "window_seconds": "3"})
    assert "belong together" in refused.content.decode()
    console.post(page(policy, "edit"), {"name": "Two", "method": "cancel", "max_waiting": "7"})
    policy.refresh_from_db()
    assert (policy.name, policy.threshold, policy.max_waiting, policy.enabled) == ("Two", None, 7, False)

    console.post(page(policy, "enable"))
    policy.refresh_from_db()
    assert policy.enabled
    console.post(page(policy, "remove"), {"confirmed": "1"})
    assert not Policy.objects.exists()


def test_page_shows_who_holds_slots_and_who_waits(console: Client, announced: Announced) -> None:
    make_worker()
    action = make_action()
    policy = make_policy(action=action, parameters=["site"])
    first, _second = (make_request(action=action, parameters={"site": "<b>"}) for _ in range(2))
    dispatch_waiting()

    text = console.get(page(policy)).content.decode()

    assert "site=&lt;b&gt;" in text
    assert f"#{first.pk}" in text
    assert policy.ref in console.get(reverse(LIST), {"action_ref": action.ref}).content.decode()


def test_verbs_take_the_grant_on_all_that_it_limits() -> None:
    mine, foreign = make_action(), make_action()
    shared, own = make_policy(action_refs=[mine.ref, foreign.ref]), make_policy(action=mine)
    hidden = make_policy(action=foreign)
    client = Client()
    client.force_login(make_holder(grant("actions:read", "actions:update", refs=[mine.ref])))

    text = client.get(reverse(LIST)).content.decode()
    assert shared.ref in text
    assert hidden.ref not in text
    assert client.get(page(hidden)).status_code == 302
    assert page(own, "edit") in client.get(page(own)).content.decode()
    assert page(shared, "edit") not in client.get(page(shared)).content.decode()
    assert client.post(page(shared, "remove"), {"confirmed": "1"}).status_code == 403
    answer = client.post(reverse(ADD), {"ref": "lab.all", "name": "All", "threshold": "1", "method": "enqueue"})
    assert "Insufficient permissions" in answer.content.decode()
    client.post(reverse(LIST), {"action": "disable_selected", "_selected_action": [own.pk, shared.pk]})
    answer = client.post(page(own, "disable"), {"confirmed": "1"})
    assert list(get_messages(answer.wsgi_request))
    assert dict(Policy.objects.values_list("ref", "enabled")) == {shared.ref: True, own.ref: False, hidden.ref: True}
