"""Secrets that stand literally in a rule's parameters (auth.md section 10): kept apart, used, never shown."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from rest_framework.test import APIClient

from apps.core.cipher import Cipher
from apps.events.models import Trigger
from apps.events.services import EventRequest, store_event
from apps.executions.models import Execution
from apps.executions.secrets import real_config
from apps.keys.models import SecretValue
from apps.keys.rotation import rotate
from apps.packs.models import Pack
from apps.packs.services import register_pack
from apps.rules.models import Rule
from tests.factories import make_action, make_runtime, make_trigger

pytestmark = pytest.mark.django_db

MARKER = {"$attune_secret": True, "redacted": True}
SCHEMA = {
    "password": {"type": "string", "secret": True},
    "users": {
        "type": "array",
        "items": {"type": "object", "properties": {"pin": {"type": "integer", "secret": True}}},
    },
    "text": {"type": "string"},
}
GIVEN = {"password": "s3cret-1", "users": [{"name": "olga", "pin": 483215}], "text": "open"}
SHOWN = {"password": MARKER, "users": [{"name": "olga", "pin": MARKER}], "text": "open"}


@dataclass
class Rules:
    api: APIClient
    fields: dict[str, Any]

    def create(self, **fields: Any) -> Any:
        return self.api.post("/api/v1/rules", {**self.fields, **fields}, format="json")

    def change(self, **fields: Any) -> Any:
        return self.api.put("/api/v1/rules/lab.rule", fields, format="json")

    def run(self) -> Any:
        """Let it happen, and return what the execution gets."""
        store_event(EventRequest(trigger=Trigger.objects.get(ref="lab.door"), payload={"host": "db1"}))
        return real_config(Execution.objects.latest("id"))


@pytest.fixture
def rules(api: APIClient, lab: Pack) -> Rules:
    make_trigger(pack=lab, ref="lab.door")
    make_action(pack=lab, ref="lab.act", param_schema=SCHEMA)
    fields = {
        "ref": "lab.rule",
        "label": "Rule",
        "pack_ref": "lab",
        "trigger_ref": "lab.door",
        "action_ref": "lab.act",
    }
    return Rules(api, fields)


def column() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT action_params FROM rule")
        return str(cursor.fetchone()[0])


def test_secrets_are_marked_everywhere_and_reach_the_execution(rules: Rules) -> None:
    created = rules.create(action_params=GIVEN)

    assert created.status_code == 201
    assert created.json()["data"]["action_params"] == SHOWN
    listed = rules.api.get("/api/v1/rules").content + rules.api.get("/api/v1/rules/lab.rule").content
    assert b"s3cret" not in listed
    assert b"483215" not in listed
    assert "s3cret" not in column()
    assert rules.run() == GIVEN


def test_a_template_is_no_secret(rules: Rules) -> None:
    params = {"password": "{{ event.payload.host }}", "text": "{{ event.payload.host }}"}

    assert rules.create(action_params=params).json()["data"]["action_params"] == params
    assert SecretValue.objects.filter(entity_type="rule_params").count() == 0
    assert rules.run() == {"password": "db1", "text": "db1"}


def test_marker_keeps_what_it_stands_for(rules: Rules) -> None:
    rules.create(action_params=GIVEN)
    rules.run()  # the rule is known to the process now

    answer = rules.change(action_params={**SHOWN, "users": [], "text": "other"})

    assert answer.json()["data"]["action_params"] == {"password": MARKER, "users": [], "text": "other"}
    assert rules.run() == {"password": "s3cret-1", "users": [], "text": "other"}


def test_new_secret_takes_effect_though_the_row_looks_the_same(rules: Rules) -> None:
    rules.create(action_params=GIVEN)
    rules.run()

    rules.change(action_params={**SHOWN, "password": "s3cret-2"})

    assert rules.run()["password"] == "s3cret-2"


def test_other_changes_leave_the_secrets_alone(rules: Rules) -> None:
    rules.create(action_params=GIVEN)

    assert rules.change(label="Another").status_code == 200
    assert rules.change(action_ref="lab.act").status_code == 200
    assert rules.run() == GIVEN


def test_marker_that_stands_for_nothing_is_refused(rules: Rules) -> None:
    assert rules.create(action_params=SHOWN).status_code == 422
    rules.create(action_params={"text": "open"})
    assert rules.change(action_params={"password": MARKER}).status_code == 422
    assert rules.run() == {"text": "open"}


def test_secret_is_checked_against_the_schema_and_not_told(rules: Rules) -> None:
    refused = rules.create(action_params={"users": [{"pin": "s3cret"}]})
    assert refused.status_code == 422
    assert "s3cret" not in refused.content.decode()


def test_draft_uses_what_is_kept_and_shows_none_of_it(rules: Rules) -> None:
    rules.create(action_params=GIVEN)

    answers = [
        rules.api.post("/api/v1/rules/lab.rule/test", {"payload": {}, **draft}, format="json").json()["data"]
        for draft in ({}, {"action_params": SHOWN}, {"action_params": {**SHOWN, "password": 4715236}})
    ]

    assert [answer["rendered_params"] for answer in answers] == [SHOWN] * 3
    assert answers[2]["params_warnings"] != []
    assert "s3cret" not in json.dumps(answers)
    assert "4715236" not in json.dumps(answers)


def test_secrets_go_with_the_rule(rules: Rules) -> None:
    rules.create(action_params=GIVEN)
    assert SecretValue.objects.filter(entity_type="rule_params").count() == 2

    assert rules.api.delete("/api/v1/rules/lab.rule").status_code == 200

    assert SecretValue.objects.filter(entity_type="rule_params").count() == 0


def test_secrets_are_rotated(rules: Rules, settings: Any) -> None:
    rules.create(action_params=GIVEN)
    new = "another key of more than thirty-two characters"
    with override_settings(ENCRYPTION_KEY=new, ENCRYPTION_PREVIOUS_KEYS=[settings.ENCRYPTION_KEY]):
        assert rotate().complete
    key_ids = set(SecretValue.objects.filter(entity_type="rule_params").values_list("encryption_key_hash", flat=True))
    assert key_ids == {Cipher(new).key_id}


def test_rule_whose_secrets_cannot_be_read_stands_in_nobodys_way(rules: Rules) -> None:
    rules.create(action_params=GIVEN)
    SecretValue.objects.filter(entity_type="rule_params").update(encrypted_value="AAAA")

    assert rules.run() == {"password": None, "users": [{"name": "olga", "pin": None}], "text": "open"}
    assert rules.change(action_params=SHOWN).status_code == 409
    assert rules.change(action_params=GIVEN).status_code == 200
    assert rules.run() == GIVEN


def test_rule_file_is_stored_without_its_secret_and_only_once(rules: Rules, tmp_path: Any) -> None:
    make_runtime()
    folder = tmp_path / "shop"
    for name, text in {
        "pack.yaml": "ref: shop\nversion: 1.0.0\n",
        "rules/rule.yaml": "trigger_ref: lab.door\naction_ref: lab.act\naction_params: {password: s3cret-1}\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    register_pack(folder)
    rule = Rule.objects.get(ref="shop.rule")
    assert rule.action_params == {"password": MARKER}
    assert rules.run() == {"password": "s3cret-1"}

    register_pack(folder, force=True)
    assert Rule.objects.get(ref="shop.rule").updated == rule.updated

    path.write_text(path.read_text().replace("s3cret-1", "s3cret-2"))
    register_pack(folder, force=True)
    assert rules.run() == {"password": "s3cret-2"}
