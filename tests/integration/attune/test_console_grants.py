"""The console asks the same grants as the API: for its pages, the rows on them, and the buttons."""

import pytest
from django.contrib import admin
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from apps.executions.models import Execution
from apps.executions.states import Status
from apps.identity.models import Identity
from apps.rules.models import Rule
from tests.factories import (
    grant,
    make_action,
    make_event,
    make_execution,
    make_holder,
    make_identity,
    make_pack,
    make_rule,
    make_set,
    make_trigger,
    make_worker,
)

pytestmark = pytest.mark.django_db

OF_SHOP = {"pack_refs": ["shop"]}


def console_of(*grants, **fields):
    """A browser in which somebody signed in who holds these grants."""
    client = Client(raise_request_exception=False)
    client.force_login(make_holder(*grants, **fields))
    return client


def list_of(model):
    return reverse(f"admin:{model}_changelist")


def page_of(model, row, name="change"):
    return reverse(f"admin:{model}_{name}", args=[row.pk])


def body_of(answer):
    assert answer.status_code == 200, answer
    return answer.content.decode()


def test_whoever_holds_one_grant_may_enter():
    stranger = Client()
    stranger.force_login(make_identity())
    assert stranger.get("/admin/").status_code == 302
    assert console_of(grant("rules:read", colour="red")).get("/admin/").status_code == 302  # a grant that never holds
    assert console_of(grant("workers:read")).get("/admin/").status_code == 200


def test_side_bar_names_what_may_be_opened():
    bar = body_of(console_of(grant("rules:read"), login="the-reader").get("/admin/"))
    assert list_of("rules_rule") in bar
    assert list_of("executions_execution") in bar  # one's own
    assert list_of("workers_worker") not in bar
    assert list_of("identity_identity") not in bar


def test_every_list_is_closed_or_filtered():
    """Whoever holds one grant of no use there sees nothing of anybody's."""
    pack = make_pack(ref="shop")
    action, trigger = make_action(pack=pack, ref="shop.act"), make_trigger(pack=pack, ref="shop.trig")
    make_rule(pack=pack, ref="shop.rule", action=action, trigger=trigger)
    make_event(trigger=trigger)
    make_execution(action=action)
    make_worker(name="shop-worker")
    client = console_of(grant("retention:read"))
    for model in admin.site._registry:
        answer = client.get(list_of(f"{model._meta.app_label}_{model._meta.model_name}"))
        assert answer.status_code in (200, 403), model
        if answer.status_code == 200:
            assert "shop" not in answer.content.decode(), model


def test_lists_hold_the_rows_that_grants_allow():
    rows = {ref: make_action(pack=make_pack(ref=ref), ref=f"{ref}.act") for ref in ("shop", "yard")}
    executions = {ref: make_execution(action=action) for ref, action in rows.items()}
    client = console_of(grant("actions:read", **OF_SHOP), grant("executions:read", **OF_SHOP))

    for model in ("actions_action", "executions_execution", "executions_executionhistory"):
        assert "yard.act" not in body_of(client.get(list_of(model)))
    assert "shop.act" in body_of(client.get(list_of("actions_action")))
    assert client.get(page_of("actions_action", rows["shop"])).status_code == 200
    assert client.get(page_of("actions_action", rows["yard"])).status_code == 302  # as if it were not there
    assert client.get(page_of("executions_execution", executions["shop"])).status_code == 200
    assert client.get(page_of("executions_execution", executions["yard"])).status_code == 302
    assert client.get(page_of("executions_execution", executions["yard"], "live")).status_code == 204
    overview = body_of(client.get("/admin/"))
    assert "shop.act" in overview
    assert "yard.act" not in overview


def test_verbs_of_a_rule():
    pack = make_pack(ref="shop")
    rule = make_rule(pack=pack, ref="shop.rule")
    reader = console_of("core.viewer")
    page = body_of(reader.get(page_of("rules_rule", rule)))
    for name in ("disable", "remove", "edit", "backtest"):
        url = page_of("rules_rule", rule, name)
        assert url not in page
        assert reader.post(url, {"confirmed": "1"}).status_code == 403
    assert reader.get(reverse("admin:rules_rule_add")).status_code == 403
    reader.post(list_of("rules_rule"), {"action": "disable_selected", "_selected_action": [rule.pk]})
    rule.refresh_from_db()
    assert rule.enabled

    other = make_rule(ref="yard.rule")
    keeper = console_of(grant("rules:read"), grant("rules:update", **OF_SHOP))
    assert page_of("rules_rule", rule, "disable") in body_of(keeper.get(page_of("rules_rule", rule)))
    assert page_of("rules_rule", other, "disable") not in body_of(keeper.get(page_of("rules_rule", other)))
    answer = keeper.post(
        list_of("rules_rule"), {"action": "disable_selected", "_selected_action": [rule.pk, other.pk]}
    )
    assert sorted(map(str, get_messages(answer.wsgi_request))) == [
        "Insufficient permissions: rules:update", "shop.rule is disabled",
    ]  # fmt: skip
    assert dict(Rule.objects.values_list("ref", "enabled")) == {"shop.rule": False, "yard.rule": True}


def test_executions_are_cancelled_by_their_owner_and_by_a_grant():
    client = console_of(grant("executions:read"), login="anna")
    mine, theirs = make_execution(executor=Identity.objects.get(login="anna")), make_execution()
    for row, status in ((mine, 302), (theirs, 403)):
        assert client.post(page_of("executions_execution", row, "cancel"), {"confirmed": "1"}).status_code == status
        assert client.post(page_of("executions_execution", row, "force-close"), {"confirmed": "1"}).status_code == 403
    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert (mine.status, theirs.status) == (Status.CANCELLED, Status.REQUESTED)


def test_running_an_action_takes_its_grant_and_delegation():
    make_set(grant("keys:decrypt"), ref="t.secrets")
    pack = make_pack(ref="shop")
    plain = make_action(pack=pack, ref="shop.plain")
    mighty = make_action(pack=pack, ref="shop.mighty", default_execution_permission_set_refs=["t.secrets"])
    run = "admin:executions_execution_run"

    assert console_of("core.viewer").post(reverse(run, args=[plain.pk]), {}).status_code == 403
    runner = console_of(grant("actions:read", "actions:execute", **OF_SHOP))
    assert runner.post(reverse(run, args=[plain.pk]), {}).status_code == 302
    answer = runner.post(reverse(run, args=[mighty.pk]), {})
    assert "permission sets beyond current access" in body_of(answer)
    assert list(Execution.objects.values_list("action_ref", flat=True)) == ["shop.plain"]


def test_page_of_a_trigger_shows_what_else_may_be_seen():
    pack = make_pack(ref="shop")
    trigger = make_trigger(pack=pack, ref="shop.trig", webhook_enabled=True, webhook_key="wh_0123456789abcdef")
    make_rule(pack=pack, ref="shop.rule", trigger=trigger)
    reader = console_of(grant("triggers:read"))
    page = body_of(reader.get(page_of("events_trigger", trigger)))
    assert "shop.rule" not in page
    assert reader.get(page_of("events_trigger", trigger, "webhook_url")).status_code == 403
    assert reader.get(list_of("events_webhookeventlog")).status_code == 403
    assert "shop.rule" in body_of(console_of("core.viewer").get(page_of("events_trigger", trigger)))


def test_workers_are_cordoned_by_a_grant():
    worker = make_worker()
    reader, keeper = console_of("core.viewer"), console_of("core.admin")
    url = reverse("admin:workers_worker_cordon", args=[worker.pk])
    assert reader.post(url, {"confirmed": "1"}).status_code == 403
    assert keeper.post(url, {"confirmed": "1"}).status_code == 302
    worker.refresh_from_db()
    assert worker.cordoned
