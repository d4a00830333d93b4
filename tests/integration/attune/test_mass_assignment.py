"""
Bodies that say more, or something else, than they may: every operation of the document that writes.

What the rows are afterwards is compared over the whole database, so nobody has to name what could be forged.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction

from apps.events.models import WebhookEventLog
from apps.identity import sensor_tokens
from attune import openapi
from tests.clients import bearing, signed_in
from tests.paths import Named

Tables = dict[str, list[dict[str, Any]]]

FORGED_AT = "2001-02-03T04:05:06Z"
# By the type of a column: what it is never given by itself.
FORGED: dict[str, Any] = {"AutoField": 999_999, "BigAutoField": 999_999, "ForeignKey": 1, "BooleanField": True,
                          "DateTimeField": FORGED_AT, "JSONField": {"forged": True}, "UUIDField": "f" * 32}  # fmt: skip
OF_NUMBERS = ("IntegerField", "SmallIntegerField", "BigIntegerField", "FloatField", "DurationField")
LONG = "x" * 12_000
# By the type of a member: what it is not. The members take turns.
WRONG = {"string": [7, LONG], "integer": ["7", 2**63], "boolean": ["true"], "array": ["x"], "object": ["x", []]}
REFUSED = {400, 403, 404, 409, 422}
# What a body needs beyond what the document calls required, or in place of what fits the type.
VALUES: dict[str, Any] = {
    "action_ref": "pp.a", "content": 1, "current_password": "x", "data": 1, "definition": {"tasks": []}, "entry": 1,
    "entrypoint": "x", "grants": [], "label": "l", "login": "newcomer", "name": "n", "new_password": "correct horse",
    "owner": "", "owner_type": "system", "pack_ref": "pp", "password": "correct horse", "path": "/nope", "payload": 1,
    "permission_set_ref": "tests.named", "prompt": "?", "ref": "pp.new", "refresh_token": "t", "response": 1, "role": "new",
    "runtime_ref": "pp.sh", "scope": "system", "sensor_ref": "pp.s", "token": "t", "trigger_params": {},
    "trigger_ref": "pp.t", "trigger_types": ["pp.t"], "type": "other", "value": 1, "version": "1.0.0",
    "webhook_config": {}, "dispatch_action_ref": "pp.a",
}  # fmt: skip
INSTEAD = {"/api/v1/packs": {"ref": "fresh"}, "/api/v1/permissions/assignments": {"identity_login": "fresh-person"}}
# Signing in writes nothing, but counts attempts; what a sender posts raw is payload, whatever it is.
NOT_BY_BODY = (
    "/api/v1/webhooks/{webhook_key}/raw",
    "/auth/login",
    "/auth/token-login",
    "/auth/refresh",
    "/auth/ldap/login",
    "/auth/register",
)


def column_names() -> dict[str, Any]:
    """Every column of every table, with a value to forge it by."""
    found: dict[str, Any] = {}
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            kind = field.get_internal_type()
            value = 987_654 if kind.endswith(OF_NUMBERS) else FORGED.get(kind, "forged")
            found |= {field.name: value, field.attname: value, field.column: value}
    return found | {"is_superuser": True, "is_staff": True, "permissions": ["core.admin"], "__proto__": {"a": 1}}


def tables() -> Tables:
    """The whole database, but for the log of requests to webhooks: that holds what was refused, too."""
    kept = (model for model in apps.get_models() if model is not WebhookEventLog)
    return {model._meta.db_table: list(model.objects.order_by("pk").values())for model in kept}  # fmt: skip


class Writes:
    """The operations of the document that take a JSON body, and what to send them."""

    def __init__(self) -> None:
        self.document = json.loads(openapi.document())
        self.named = Named()
        self.client = signed_in()
        self.sensor = bearing(sensor_tokens.issue("pp.s", ["pp.t"]).token)

    def __iter__(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, item in self.document["paths"].items():
            for method in ("post", "put", "patch"):
                content = item.get(method, {}).get("requestBody", {}).get("content", {}).get("application/json")
                if content and path not in NOT_BY_BODY:
                    yield method, path, self.resolved(content["schema"])

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        for inner in [schema, *schema.get("allOf", [])]:
            if "$ref" in inner:
                return self.document["components"]["schemas"][inner["$ref"].rpartition("/")[2]]
        return schema

    def body(self, path: str, schema: dict[str, Any]) -> dict[str, Any]:
        """A body that is accepted, where what the path names is in a state that allows it."""
        found = {
            name: VALUES[name] if name in VALUES else self.named.members[name][0]
            for name in schema.get("required", [])
        }
        return found | INSTEAD.get(path, {})

    def send(self, method: str, path: str, body: Any) -> Any:
        where = re.sub(r"{(\w+)}", lambda found: str((self.named.candidates(path, found[1]) or [1])[0]), path)
        client = self.sensor if path == "/api/v1/events" else self.client
        return client.generic(method.upper(), where, json.dumps(body), content_type="application/json")

    def tried(self, method: str, path: str, body: Any) -> tuple[int, Tables]:
        """Return the status, and the database as the request would leave it."""
        with transaction.atomic():
            status = self.send(method, path, body).status_code
            left = tables()
            transaction.set_rollback(True)
        return status, left


@pytest.fixture
def writes(db: None, settings: Any, tmp_path: Any) -> Writes:
    from tests.factories import make_identity

    settings.ARTIFACTS_DIR = tmp_path
    make_identity(login="fresh-person")
    return Writes()


def differences(one: Tables, other: Tables) -> set[tuple[str, str]]:
    """Name the columns in which they differ; ``*`` stands for the number of rows."""
    found = set()
    for table, rows in one.items():
        if len(rows) != len(other[table]):
            found.add((table, "*"))
        for row, same in zip(rows, other[table], strict=False):
            found |= {(table, column) for column, value in row.items() if value != same[column]}
    return found


def is_limited(member: dict[str, Any]) -> bool:
    return 0 < member.get("maxLength", 0) < len(LONG)


@pytest.mark.timeout(600)
def test_unknown_members_change_nothing(writes):
    forged, written = column_names(), 0
    for method, path, schema in writes:
        body = writes.body(path, schema)
        extra = {name: value for name, value in forged.items() if name not in schema.get("properties", {})}
        status, plain = writes.tried(method, path, body)
        _status, again = writes.tried(method, path, body)
        found = writes.tried(method, path, extra | body)
        chance = differences(plain, again)  # times, keys, tokens
        assert found[0] == status, (method, path, status, found[0])
        assert differences(plain, found[1]) - chance == set(), (method, path)
        for table, column in chance:
            values = {str(row.get(column)) for row in found[1][table]}
            assert not values & {"999999", "987654", "forged", "2001-02-03 04:05:06+00:00"}, (
                method,
                path,
                table,
                column,
            )
        written += status < 300
    assert written >= 25


@pytest.mark.timeout(600)
def test_wrong_members_are_refused_and_nothing_is_written(writes):
    tried = 0
    for method, path, schema in writes:
        body, before = writes.body(path, schema), tables()
        for name, member in schema.get("properties", {}).items():
            values = [each for each in WRONG.get(member.get("type"), ()) if each != LONG or is_limited(member)]
            if not values:
                continue
            value = values[tried % len(values)]
            status = writes.send(method, path, body | {name: value}).status_code
            assert status in REFUSED, (method, path, name, value if value != LONG else "long", status)
            tried += 1
        assert differences(before, tables()) == set(), (method, path)
    assert tried > 250
    connection.check_constraints()
