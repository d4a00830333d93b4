"""Reading the audit trail: API, console, export, and what is removed."""

import csv
import io
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from apps.core.api import contains
from apps.identity.audit import retention, trail
from apps.identity.models import AuditEvent
from attune.housekeeping import Housekeeping
from tests.clients import signed_in
from tests.factories import make_admin, make_holder, make_identity

pytestmark = pytest.mark.django_db

URL = "/api/v1/audit-events"
REQUEST = uuid.UUID("11111111-2222-4333-8444-555555555555")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
READ = {"resource": "audit_log", "actions": ["read"]}


def make_event(**fields: Any) -> AuditEvent:
    return AuditEvent.objects.create(
        **{"category": "api", "event_type": "api.get.success", "outcome": "success", "created": NOON, **fields}
    )


@pytest.fixture
def reader():
    return signed_in(make_holder(READ, login="reader"))


def ids(answer) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["data"]]


def test_event_has_the_fields_of_the_contract(reader) -> None:
    event = make_event(
        category="secret", event_type="secret.key.read", actor_identity=7, actor_login="olga", actor_token_type="access",
        actor_ip="203.0.113.9", actor_user_agent="tests/1", request_id=REQUEST, resource_type="key", resource_id=3,
        resource_ref="system.k", http_method="GET", http_path="/api/v1/keys/system.k", http_status=200, duration_ms=4,
        details={"encrypted": True}, correlation_chain=[{"type": "request", "id": str(REQUEST)}],
    )  # fmt: skip

    answer = reader.get(f"{URL}/{event.pk}")

    assert answer.json() == {
        "data": {
            "id": event.pk, "created": "2026-01-31T12:00:00Z", "category": "secret", "event_type": "secret.key.read",
            "outcome": "success", "actor_identity": 7, "actor_login": "olga", "actor_token_type": "access",
            "actor_ip": "203.0.113.9", "actor_user_agent": "tests/1", "request_id": str(REQUEST), "resource_type": "key",
            "resource_id": 3, "resource_ref": "system.k", "http_method": "GET", "http_path": "/api/v1/keys/system.k",
            "http_status": 200, "duration_ms": 4, "details": {"encrypted": True},
            "correlation_chain": [{"type": "request", "id": str(REQUEST)}],
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    "asked, matching",
    [
        ("category=secret", {"category": "secret"}),
        ("category=secret,auth", {"category": "auth"}),
        ("event_type=pack.deleted", {"event_type": "pack.deleted"}),
        ("event_type=pack.*", {"event_type": "pack.deleted"}),
        ("outcome=denied", {"outcome": "denied"}),
        ("outcome=denied,failure", {"outcome": "failure"}),
        ("actor_identity=7", {"actor_identity": 7}),
        ("actor_login=LG", {"actor_login": "olga"}),
        ("resource_type=key", {"resource_type": "key"}),
        ("resource_id=12", {"resource_id": 12}),
        ("resource_ref=core.echo", {"resource_ref": "core.echo"}),
        ("resource_ref=core.*", {"resource_ref": "core.echo"}),
        (f"request_id={REQUEST}", {"request_id": REQUEST}),
        ("http_status=409", {"http_status": 409}),
        ("http_method=put", {"http_method": "PUT"}),
        ("http_path=KEYS/", {"http_path": "/api/v1/keys/a"}),
        ("http_path=%25", {"http_path": "/a%b"}),
        ("created_after=2026-02-01", {"created": datetime(2026, 2, 1, tzinfo=UTC)}),
        ("created_before=2026-01-31T12:00:00Z", {"created": NOON - timedelta(microseconds=1)}),
    ],
)
def test_filters(reader, asked: str, matching: dict[str, Any]) -> None:
    make_event()
    wanted = make_event(**matching)

    assert ids(reader.get(f"{URL}?{asked}")) == [wanted.pk]


@pytest.mark.parametrize(
    "asked",
    ["category=nothing", "outcome=ok", "actor_identity=x", "resource_id=x", "request_id=1", "http_status=x",
     "http_status=-1", "created_after=soon", "include_total=perhaps", "cursor=x", "actor_login=" + "x" * 1001],
)  # fmt: skip
def test_filter_that_cannot_be_understood_is_a_bad_request(reader, asked: str) -> None:
    assert reader.get(f"{URL}?{asked}").status_code == 400


def test_pages_are_newest_first_and_go_on_by_cursor(reader) -> None:
    made = [make_event(created=NOON + timedelta(seconds=number // 2)).pk for number in range(5)]

    first = reader.get(f"{URL}?per_page=3").json()
    second = reader.get(f"{URL}?per_page=3&cursor={first['pagination']['next_cursor']}").json()

    assert [row["id"] for row in first["data"] + second["data"]] == made[::-1]
    assert (first["pagination"]["total_items"], first["pagination"]["page_size"]) == (5, 3)
    assert reader.get(f"{URL}?per_page=501").json()["pagination"]["effective_page_size"] == 500
    assert "total_items" not in reader.get(f"{URL}?include_total=false").json()["pagination"]


def test_search_for_a_part_looks_through_the_newest_rows_and_says_so(reader, monkeypatch) -> None:
    monkeypatch.setattr(contains, "WINDOW", 2)
    old = make_event(http_path="/wanted", created=NOON - timedelta(days=1))
    new = make_event(http_path="/wanted")
    make_event(http_path="/other")

    answer = reader.get(f"{URL}?http_path=want")

    assert (ids(answer), answer.json()["pagination"]["window"]) == ([new.pk], 2)
    assert ids(reader.get(f"{URL}?http_path=want&created_before=2026-01-31")) == [old.pk]
    assert "window" not in reader.get(URL).json()["pagination"]


def test_list_takes_the_same_queries_for_any_number_of_rows(reader, django_assert_num_queries) -> None:
    for rows in (1, 3):
        while AuditEvent.objects.count() < rows:
            make_event()
        with django_assert_num_queries(4):  # identity, grants, count, rows
            assert len(reader.get(URL).json()["data"]) == rows


def test_events_of_a_request_in_the_order_in_which_they_happened(reader) -> None:
    later = make_event(request_id=REQUEST, created=NOON + timedelta(seconds=1))
    first = make_event(request_id=REQUEST)
    make_event(request_id=uuid.uuid4())

    assert ids(reader.get(f"{URL}/by-request/{REQUEST}")) == [first.pk, later.pk]
    assert ids(reader.get(f"{URL}/by-request/{uuid.uuid4()}")) == []
    assert reader.get(f"{URL}/by-request/1").status_code == 400


@pytest.mark.parametrize("path", [URL, f"{URL}/1", f"{URL}/99999", f"{URL}/by-request/{REQUEST}"])
def test_reading_takes_the_grant(path: str) -> None:
    make_event()

    answer = signed_in(make_identity()).get(path)

    assert (answer.status_code, answer.json()["error"]) == (403, "Insufficient permissions: audit_log:read")


def test_single_event_that_is_not_there(reader) -> None:
    assert reader.get(f"{URL}/99999").status_code == 404
    assert reader.get(f"{URL}/x").status_code == 400


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nobody_changes_events(method: str) -> None:
    event = make_event()
    api = signed_in()

    assert getattr(api, method)(f"{URL}/{event.pk}", {}).status_code == 405
    assert AuditEvent.objects.filter(pk=event.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_reading_is_recorded_and_leaves_no_event_of_a_request() -> None:
    reader = signed_in(make_holder(READ, login="reader"))
    event = make_event(request_id=REQUEST)
    reader.get(f"{URL}?category=api&http_path=nothing")
    reader.get(f"{URL}/{event.pk}")
    reader.get(f"{URL}/by-request/{REQUEST}")

    trail.flush()
    found = AuditEvent.objects.exclude(pk=event.pk).order_by("id")
    assert [(row.event_type, row.category, row.actor_login) for row in found] == [
        ("audit_log.read", "admin", "reader")
    ] * 3
    assert [row.details for row in found] == [
        {"filters": {"category": "api", "http_path": "nothing"}, "events": 0},
        {},
        {"of_request": str(REQUEST), "events": 1},
    ]
    assert found[1].resource_id == event.pk


# --- The console ------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_console_shows_events_as_text_and_records_who_looked() -> None:
    olga = make_admin(login="olga")
    browser = Client()
    browser.force_login(olga)
    event = make_event(
        http_path="/<script>alert(1)</script>", request_id=REQUEST, details={"note": "<b>bold</b>"}, outcome="denied"
    )

    listed = browser.get("/admin/identity/auditevent/?outcome=denied")
    page = browser.get(f"/admin/identity/auditevent/{event.pk}/change/")
    posted = browser.post(f"/admin/identity/auditevent/{event.pk}/change/", {"event_type": "x"})

    assert (listed.status_code, page.status_code, posted.status_code) == (200, 200, 403)
    assert b"&lt;script&gt;" in listed.content
    assert b"<script>alert(1)" not in listed.content + page.content
    assert b"<b>bold" not in page.content
    trail.flush()
    assert AuditEvent.objects.filter(event_type="audit_log.read", actor_login="olga").count() == 3


# --- Export -----------------------------------------------------------------------------------------------------


def export(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("audit_export", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_export_gives_matching_events_oldest_first(monkeypatch) -> None:
    monkeypatch.setattr("apps.identity.audit.exporting.BATCH_ROWS", 2)
    made = [make_event(created=NOON + timedelta(seconds=number // 3), actor_login="olga").pk for number in range(7)]
    make_event(category="auth", event_type="auth.login.success")

    lines, said = export("--category", "api", "--actor-login", "OLG")

    assert [json.loads(line)["id"] for line in lines.splitlines()] == made
    assert said == "7 events exported.\n"


def test_csv_is_safe_in_a_spreadsheet(tmp_path: Path) -> None:
    make_event(actor_user_agent="=HYPERLINK(1)", details={"a": [1]}, resource_id=-1)
    target = tmp_path / "audit.csv"

    lines, _said = export("--format", "csv", "--output", str(target))

    (row,) = csv.DictReader(target.read_text(encoding="utf-8").splitlines())
    assert lines == ""
    assert target.stat().st_mode & 0o777 == 0o600
    assert (row["actor_user_agent"], row["details"], row["resource_id"]) == ("'=HYPERLINK(1)", '{"a": [1]}', "-1")
    assert list(row)[:4] == ["id", "created", "category", "event_type"]


def test_export_refuses_in_a_sentence(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    with pytest.raises(CommandError, match="cannot be made: File exists"):
        export("--output", str(taken))
    with pytest.raises(CommandError, match="must be a time"):
        export("--created-after", "soon")


@pytest.mark.django_db(transaction=True)
def test_export_is_recorded() -> None:
    make_event()
    export("--category", "api")
    trail.flush()

    (event,) = AuditEvent.objects.filter(event_type="audit_log.read")
    assert event.details == {"command": "audit_export", "filters": {"category": "api"}, "events": 1}


# --- Removal ----------------------------------------------------------------------------------------------------


def test_events_go_after_ninety_days_a_few_at_a_time(monkeypatch) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 2)
    now = timezone.now()
    for _number in range(5):
        make_event(created=now - timedelta(days=90, minutes=1))
    kept = [make_event(created=now - timedelta(days=89)).pk, make_event(created=now).pk]

    Housekeeping().turn()

    assert list(AuditEvent.objects.order_by("id").values_list("pk", flat=True)) == kept


def test_what_one_turn_does_not_manage_the_next_one_goes_on_with(monkeypatch) -> None:
    monkeypatch.setattr(retention, "BATCH_ROWS", 1)
    monkeypatch.setattr(retention, "_SECONDS", 0)
    for _number in range(3):
        make_event(created=timezone.now() - timedelta(days=91))
    housekeeping, left = Housekeeping(), []
    for _turn in range(4):
        housekeeping.turn()
        left.append(AuditEvent.objects.count())

    assert left == [2, 1, 0, 0]
