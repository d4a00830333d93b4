"""Deny by default: the whole route table, every method (auth.md section 1)."""

import json
import re

import pytest
from django.core.checks import run_checks
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from apps.identity.checks import METHODS, routes
from tests.clients import anonymous, signed_in
from tests.factories import make_identity

PUBLIC = {
    ("get", "/health"), ("get", "/health/detailed"), ("get", "/health/ready"), ("get", "/health/live"), ("get", "/ready"),
    ("get", "/healthz"), ("get", "/docs"), ("get", "/api-spec/openapi.json"),
    ("post", "/auth/login"), ("post", "/auth/token-login"), ("post", "/auth/register"), ("post", "/auth/refresh"),
    ("post", "/auth/ldap/login"), ("get", "/auth/settings"), ("get", "/auth/logout"), ("get", "/auth/oidc/login"),
    ("get", "/auth/callback"), ("get", "/login"), ("post", "/auth/internal/sensor-token"),
    ("get", "/api/v1/agent/binary"), ("get", "/api/v1/agent/info"),
    ("get", "/"), ("get", "/admin"),  # lead to the console, which has a gate of its own
    ("get", "/api/v1/"),  # leads to /docs
    ("post", "/api/v1/webhooks/1"), ("post", "/api/v1/webhooks/1/raw"),  # the key in the path, and the checks of its trigger
}  # fmt: skip
NO_API = ("/login", "/health", "/ready", "/healthz", "/docs", "/api-spec/", "/admin", "/static/")


def all_paths():
    """Every route with something in place of its parameters; the admin has a gate and tests of its own."""
    found = {re.sub(r"<[^>]+>", "1", "/" + path) for path, _callback in routes()}
    return sorted(path for path in found if not path.startswith("/admin/"))


def test_every_operation_is_classified():
    assert [error for error in run_checks() if error.id == "attune.E001"] == []


@pytest.mark.django_db
def test_no_route_answers_without_a_token_unless_it_is_on_the_list():
    client, open_routes = anonymous(), set()
    for path in all_paths():
        for method in METHODS:
            answer = getattr(client, method)(path)
            if answer.status_code == 405 and (path in ("/", "/api/v1/") or path.startswith(NO_API)):
                continue
            if answer.status_code != 401 or "code" not in (answer.json().get("error") or {}):
                open_routes.add((method, path))
    assert open_routes == PUBLIC


@pytest.mark.django_db
def test_no_other_method_is_a_way_around_the_gate():
    client = anonymous()
    for path in all_paths():
        answer = client.get(path)
        for method in ("HEAD", "OPTIONS", "TRACE", "PROPFIND"):
            is_open = method == "HEAD" and ("get", path) in PUBLIC
            status = client.generic(method, path).status_code
            assert status == answer.status_code if is_open else status in (401, 405), (method, path)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/nope", "/api", "/api/v1", "/api/v1/nope", "/api/v2/packs", "/api/v1/packs/", "/auth"]
)
def test_unknown_path_is_not_found_with_an_empty_body(path):
    for client in (anonymous(), signed_in()):
        for method in METHODS:
            answer = getattr(client, method)(path)
            assert (answer.status_code, answer.content) == (404, b""), method


@pytest.mark.django_db
def test_no_read_of_a_stranger_is_a_fault():
    client = signed_in(make_identity())
    for path in all_paths():
        assert client.get(path).status_code not in (401, 500), path


def test_document_is_valid_and_describes_envelopes_and_errors():
    schema = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(schema)

    login = schema["paths"]["/auth/login"]["post"]["responses"]
    assert login["200"]["content"]["application/json"]["schema"] == {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"$ref": "#/components/schemas/Token"}, "message": {"type": "string"}},
    }
    assert login["default"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
    assert "401" in schema["paths"]["/auth/me"]["get"]["responses"]
    assert schema["paths"]["/auth/login"]["post"].get("security", [{}]) == [{}]


@pytest.mark.django_db
def test_document_and_page_are_public():
    client = anonymous()
    document = client.get("/api-spec/openapi.json")
    assert json.loads(document.content)["openapi"].startswith("3.")

    page = client.get("/docs")
    assert page.status_code == 200
    assert "script-src 'self'" in page["Content-Security-Policy"]
    body = page.content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", body), "no inline script"
    assert "http://" not in body.replace("http://testserver", "")
    script = re.search(r'<script src="([^"]*docs[^"]*)"', body) or re.search(r'<script src="(\?[^"]*)"', body)
    assert script, body
    answer = client.get("/docs" + script[1][script[1].index("?") :])
    assert answer["Content-Type"].startswith("application/javascript")
