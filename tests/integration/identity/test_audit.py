"""What the audit trail keeps of requests."""

import json
import uuid

import pytest
from django.test import Client

from apps.identity.audit import trail
from apps.identity.models import AuditEvent, Identity
from apps.identity.services import create_identity
from tests.clients import anonymous, bearing, signed_in, with_execution_token
from tests.factories import make_admin, make_execution, make_holder, make_identity

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "wh_0123456789abcdef0123456789abcdef"


def events(**conditions) -> list[AuditEvent]:
    """Everything recorded so far that matches, in its order."""
    assert trail.flush()
    return list(AuditEvent.objects.filter(**conditions).order_by("id"))


def only(**conditions) -> AuditEvent:
    found = events(**conditions)
    assert len(found) == 1, found
    return found[0]


# --- One event for each request ---------------------------------------------------------------------------------


def test_request_leaves_one_event_that_says_who_what_and_from_where() -> None:
    olga = make_admin(login="olga")
    request_id = str(uuid.uuid4())

    answer = signed_in(olga).get(
        "/api/v1/packs?ref=secret",
        HTTP_X_REQUEST_ID=request_id,
        HTTP_USER_AGENT="tests/1",
        HTTP_X_FORWARDED_FOR="203.0.113.9, 10.0.0.1",
    )

    event = only()
    assert answer.headers["X-Request-Id"] == request_id
    assert (event.category, event.event_type, event.outcome) == ("api", "api.get.success", "success")
    assert (event.actor_identity, event.actor_login, event.actor_token_type) == (olga.pk, "olga", "access")
    assert (event.actor_ip, event.actor_user_agent, str(event.request_id)) == ("203.0.113.9", "tests/1", request_id)
    assert (event.http_method, event.http_path, event.http_status) == ("GET", "/api/v1/packs", 200)
    assert event.duration_ms is not None
    assert event.correlation_chain == [{"type": "request", "id": request_id}]


@pytest.mark.parametrize(
    "method, path, status, event_type",
    [
        ("get", "/api/v1/nothing/here", 404, "api.get.failure"),
        ("post", "/api/v1/packs", 401, "api.post.denied"),
        ("delete", "/api/v1/executions/7", 401, "api.delete.denied"),
        ("get", "/auth/settings", 200, "api.get.success"),
        ("get", "/admin/login/", 200, "api.get.success"),
        ("get", "/admin/", 302, "api.get.success"),
        ("get", "/", 302, "api.get.success"),
        ("put", "/auth/login", 401, "api.put.denied"),
        ("get", "/auth/oidc/login", 501, "api.get.failure"),
        ("head", "/auth/settings", 200, "api.head.success"),
    ],
)
def test_whoever_answers_a_request_it_is_recorded(method: str, path: str, status: int, event_type: str) -> None:
    answer = getattr(anonymous(), method)(path)

    event = only(category="api")
    assert (answer.status_code, event.http_status) == (status, status)
    assert (event.event_type, event.http_path, event.actor_identity) == (event_type, path, None)


def test_preflight_and_foreign_page_are_recorded() -> None:
    client = anonymous()
    client.options("/api/v1/packs", HTTP_ORIGIN="http://localhost:5173", HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST")
    client.cookies["attune_access_token"] = "x"
    client.post("/api/v1/packs", {}, HTTP_ORIGIN="https://evil.example")

    assert [(event.event_type, event.http_status) for event in events()] == [
        ("api.options.success", 200),
        ("api.post.denied", 403),
    ]


@pytest.mark.parametrize(
    "path",
    ["/health", "/health/live", "/health/ready", "/health/detailed", "/healthz", "/ready", "/docs", "/api-spec/openapi.json",
     "/metrics", "/static/attune/console.css", "/health/nothing", "/static/nothing"],
)  # fmt: skip
def test_pages_that_everybody_asks_for_all_the_time_are_not_recorded(path: str) -> None:
    anonymous().get(path).close()

    assert events() == []


def test_page_of_the_console_names_who_signed_in_there() -> None:
    olga = make_admin(login="olga")
    browser = Client()
    browser.force_login(olga)
    browser.get("/admin/")
    browser.get("/auth/me")

    found = events(category="api")
    assert {(event.actor_login, event.actor_token_type) for event in found} == {("olga", "session")}


def test_forwarding_headers_of_strangers_do_not_count() -> None:
    anonymous().get("/auth/settings", REMOTE_ADDR="198.51.100.7", HTTP_X_FORWARDED_FOR="203.0.113.9")

    assert only().actor_ip == "198.51.100.7"


def test_object_of_the_path_is_named() -> None:
    api = signed_in()
    execution = make_execution()
    api.get(f"/api/v1/executions/{execution.pk}")
    api.get("/api/v1/packs/core.nothing")
    api.get("/api/v1/executions/stats")
    api.get("/api/v1/executions/99999999999999999999")

    assert [(event.resource_type, event.resource_id, event.resource_ref) for event in events(category="api")] == [
        ("execution", execution.pk, None),
        ("pack", None, "core.nothing"),
        (None, None, None),
        ("execution", None, None),
    ]


def test_token_that_is_refused_is_named_as_far_as_it_is_genuine() -> None:
    frozen = make_identity(login="ice", frozen=True)
    gone = make_identity(login="gone")
    gone_id, client = gone.pk, signed_in(gone)
    gone.delete()
    signed_in(frozen).get("/api/v1/packs")
    client.get("/api/v1/packs")
    bearing("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl").get("/api/v1/packs")

    assert [(event.actor_identity, event.actor_login, event.http_status) for event in events()] == [
        (frozen.pk, "ice", 403),
        (gone_id, "gone", 401),
        (None, None, 401),
    ]


def test_failure_says_the_code_of_its_error_and_not_its_words() -> None:
    signed_in().get("/api/v1/executions?limit=geheim")

    assert only(category="api").details == {"code": "BAD_REQUEST"}


def test_odd_characters_are_kept_as_far_as_a_database_takes_them() -> None:
    anonymous().generic("GET", "/a%00b/%ff/%F0%9F%98%80", HTTP_USER_AGENT="\x00 \xff")

    event = only()
    assert event.http_path == "/a\ufffdb/\ufffd/\U0001f600" or event.http_path.startswith("/a\ufffdb/")
    assert "\x00" not in event.actor_user_agent


def test_kept_answer_that_is_given_again_is_marked() -> None:
    api = signed_in()
    body = {"ref": "twice", "label": "Twice", "version": "1.0.0"}
    for _turn in range(2):
        api.post("/api/v1/packs", body, HTTP_IDEMPOTENCY_KEY="k")

    assert [event.details for event in events(category="api")] == [{}, {"replayed": True}]


def test_audit_asks_the_database_nothing_while_a_request_is_answered(django_assert_num_queries) -> None:
    api = signed_in(make_holder({"resource": "packs", "actions": ["read"]}))
    api.get("/api/v1/packs")
    with django_assert_num_queries(3):  # identity, grants, rows
        api.get("/api/v1/packs")


# --- Never a secret ---------------------------------------------------------------------------------------------

CANARY = "c4nary-Zx81Qw"


def test_no_row_holds_a_secret_that_a_request_brought() -> None:
    create_identity("paul", password=f"{CANARY}-password")
    api = signed_in()
    hostile = anonymous()
    jwt = f"eyJ{CANARY}.eyJ{CANARY}.{CANARY}"
    hostile.post("/auth/login", {"login": "paul", "password": f"{CANARY}-wrong"})
    hostile.post("/auth/login", {"login": "paul", "password": f"{CANARY}-password"})
    hostile.post("/auth/login", {"login": CANARY, "password": CANARY})
    hostile.post("/auth/token-login", {"token": f"attune_it_{CANARY}"})
    hostile.post("/auth/refresh", {"refresh_token": jwt})
    hostile.get("/api/v1/packs", HTTP_AUTHORIZATION=f"Bearer {jwt}")
    hostile.get("/api/v1/packs", HTTP_AUTHORIZATION=f"Basic {CANARY}")
    hostile.get(f"/api/v1/packs?token={CANARY}&password={CANARY}")
    hostile.get("/api/v1/packs", HTTP_USER_AGENT=f"agent Bearer {CANARY} {jwt}")
    hostile.get(f"/api/v1/packs/{jwt}")
    hostile.post(f"/api/v1/webhooks/{CANARY}", {})
    hostile.post(f"/api/v1/webhooks/{CANARY}/raw", "x", content_type="text/plain")
    hostile.post(f"//api/v1/webhooks//{CANARY}", {})
    hostile.post(f"/api/v1/Webhooks/{CANARY}/more/{KEY}", {})
    hostile.cookies["attune_access_token"] = jwt
    hostile.get("/api/v1/packs")
    api.post(
        "/api/v1/keys", {"ref": "system.k", "owner_type": "system", "name": "k", "value": CANARY, "encrypted": True}
    )
    api.get("/api/v1/keys/system.k")
    api.put("/api/v1/keys/system.k", {"value": f"{CANARY}-2"})
    api.post("/api/v1/packs", {"ref": "p", "label": "P", "version": "1.0.0", "config": {"token": CANARY}})
    api.get(f"/api/v1/audit-events?http_path={KEY}&actor_login=Bearer%20{CANARY}")
    api.post("/api/v1/identities", {"login": "maria", "password": f"{CANARY}-maria"})
    api.get(f"/api/v1/executions/export?result_contains={CANARY}").getvalue()

    rows = events()
    texts = [json.dumps({name: str(value) for name, value in row.__dict__.items()}) for row in rows]
    assert len(rows) > 25
    assert [text for text in texts if CANARY in text or KEY in text] == []


# --- Chains -----------------------------------------------------------------------------------------------------


def test_chain_leads_from_the_execution_whose_token_asks_to_what_it_asked_for() -> None:
    root = make_execution(enforcement=77)
    child = make_execution(parent=root, root=root.pk, depth=1)
    program = with_execution_token(child, "core.admin")
    make_holder("core.admin")
    request_id = str(uuid.uuid4())

    program.get(f"/api/v1/executions/{root.pk}", HTTP_X_REQUEST_ID=request_id)

    event = only(category="api")
    assert (event.actor_token_type, event.actor_login) == ("execution", f"execution:{child.pk}")
    assert event.correlation_chain == [
        {"type": "enforcement", "id": 77},
        {"type": "execution", "id": root.pk},
        {"type": "execution", "id": child.pk},
        {"type": "request", "id": request_id},
    ]


def test_event_outlives_the_identity_that_acted() -> None:
    paul = Identity.objects.create(login="paul")
    signed_in(paul).get("/auth/me")
    paul_id = paul.pk
    events()
    paul.delete()

    assert only(actor_identity=paul_id).actor_login == "paul"
