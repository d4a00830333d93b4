"""What the base views answer, over the example API."""

import html
import json
import re

import pytest
from rest_framework.test import APIClient

from apps.identity import tokens
from apps.packs.models import Pack
from tests.clients import bearing, signed_in
from tests.factories import make_identity, make_pack
from tests.integration.core.example import PackViewSet

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.integration.core.example")]

PACKS = "/api/v1/packs"


@pytest.fixture
def client():
    return signed_in()


def error_of(answer):
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"], body["error"]


def test_single_create_update_and_delete_envelopes(client):
    created = client.post(PACKS, {"ref": "shop", "label": "Shop", "version": "1.0.0"})
    assert (created.status_code, created.json()["message"]) == (201, "Pack created successfully")
    assert list(created.json()) == ["data", "message"]

    read = client.get(f"{PACKS}/shop")
    assert (read.status_code, list(read.json()), read.json()["data"]["ref"]) == (200, ["data"], "shop")

    updated = client.put(f"{PACKS}/shop", {"label": "Store"})
    assert (updated.json()["data"]["label"], updated.json()["message"]) == ("Store", "Pack updated successfully")

    deleted = client.delete(f"{PACKS}/shop")
    assert (deleted.status_code, deleted.json()) == (
        200, {"success": True, "message": "Pack 'shop' deleted successfully"}
    )  # fmt: skip
    assert error_of(client.get(f"{PACKS}/shop")) == (404, "NOT_FOUND", "Pack 'shop' not found")


def test_times_are_utc_with_z(client):
    make_pack(ref="shop")
    assert client.get(f"{PACKS}/shop").json()["data"]["created"].endswith("Z")


def test_patch_field_sets_clears_and_keeps(client):
    make_pack(ref="shop", description="old")

    def description(body):
        assert client.put(f"{PACKS}/shop", body).status_code == 200
        return Pack.objects.get(ref="shop").description

    assert description({"description": None}) == "old"
    assert description({"label": "x"}) == "old"
    assert description({"description": {"op": "set", "value": "new"}}) == "new"
    assert description({"description": {"op": "clear"}}) is None


@pytest.mark.parametrize(
    "wrong",
    ["text", {"op": "drop"}, {"op": "set"}, {"op": "set", "value": 5}, {"op": "set", "value": "x" * 11}, [], 5, True],
)
def test_patch_field_of_another_form_is_a_validation_error(client, wrong):
    make_pack(ref="shop")
    answer = client.put(f"{PACKS}/shop", {"description": wrong})
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (422, "description")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label": None}, "label"), ({"label": 5}, "label"), ({"label": ""}, "label"), ({"label": "x" * 256}, "label"),
        ({"config": []}, "config"), ({"config": "x"}, "config"), ({"tags": "x"}, "tags"), ({"tags": [1]}, "tags[0]"),
        ({"tags": {}}, "tags"), ({"meta": {"a": 1}}, "meta"), ({"is_standard": "yes"}, "is_standard"),
        ({"is_standard": 1}, "is_standard"), ({"installed_by": "1"}, "installed_by"), ({"installed_by": 1.0}, "installed_by"),
        ({"installed_by": True}, "installed_by"), ({"installed_by": 2**63}, "installed_by"),
    ],
)  # fmt: skip
def test_wrong_types_and_lengths_are_validation_errors_that_name_the_field(client, change, field):
    answer = client.post(PACKS, {"ref": "shop", "label": "Shop", "version": "1.0.0", **change})
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")
    assert [detail["field"] for detail in answer.json()["details"]] == [field]


def test_missing_fields_are_all_named(client):
    answer = client.post(PACKS, {})
    assert (answer.status_code, [detail["field"] for detail in answer.json()["details"]]) == (
        422, ["ref", "label", "version"]
    )  # fmt: skip


@pytest.mark.parametrize(
    "change", [{"ref": "Shop"}, {"ref": " shop"}, {"ref": "shop "}, {"ref": "a"}, {"version": "1.0"}]
)
def test_broken_format_rules_are_unprocessable(client, change):
    answer = client.post(PACKS, {"ref": "shop", "label": "Shop", "version": "1.0.0", **change})
    assert error_of(answer)[:2] == (422, "UNPROCESSABLE_ENTITY")


def test_unknown_fields_and_parameters_are_ignored(client):
    answer = client.post(f"{PACKS}?nonsense=1", {"ref": "shop", "label": "Shop", "version": "1.0.0", "nonsense": {}})
    assert answer.status_code == 201


@pytest.mark.parametrize("body", [[], "text", 5, True, None, [{"ref": "shop"}]])
def test_body_that_is_no_object_is_a_validation_error(client, body):
    answer = client.post(PACKS, body, format="json")
    assert error_of(answer)[:2] == (422, "VALIDATION_ERROR")


def test_ref_filter_takes_a_whole_pack(client):
    for ref in ("core", "core.a", "core.b", "core-x", "corf"):
        Pack.objects.create(ref=ref, label=ref, version="1.0.0")

    assert [row["ref"] for row in client.get(PACKS, {"ref": "core.*"}).json()["data"]] == ["core.a", "core.b"]
    assert [row["ref"] for row in client.get(PACKS, {"ref": "core"}).json()["data"]] == ["core"]
    assert client.get(PACKS, {"ref": "co%"}).json()["data"] == []


# --- Without the grant ------------------------------------------------------------------------------------------


@pytest.fixture
def stranger():
    return signed_in(make_identity())


def test_stranger_reads_what_is_visible_only(stranger):
    make_pack(ref="hidden")
    make_pack(ref="standard", is_standard=True)

    assert stranger.get(f"{PACKS}/standard").status_code == 200
    assert error_of(stranger.get(f"{PACKS}/hidden")) == (404, "NOT_FOUND", "Pack 'hidden' not found")


def test_stranger_writes_nothing_and_is_told_which_grant_is_missing(stranger):
    make_pack(ref="shop")
    body = {"ref": "other", "label": "x", "version": "1.0.0"}

    assert error_of(stranger.post(PACKS, body)) == (403, "FORBIDDEN", "Insufficient permissions: packs:create")
    assert error_of(stranger.put(f"{PACKS}/shop", {"label": "x"}))[2] == "Insufficient permissions: packs:configure"
    assert error_of(stranger.delete(f"{PACKS}/shop"))[2] == "Insufficient permissions: packs:delete"
    assert error_of(stranger.post(f"{PACKS}/shop/touch"))[2] == "Insufficient permissions: packs:configure"
    assert list(Pack.objects.values_list("ref", flat=True)) == ["shop"]


def test_absent_comes_before_forbidden_for_writes(stranger):
    for answer in (
        stranger.put(f"{PACKS}/none", {}), stranger.delete(f"{PACKS}/none"), stranger.post(f"{PACKS}/none/touch")
    ):  # fmt: skip
        assert error_of(answer) == (404, "NOT_FOUND", "Pack 'none' not found")


def test_token_types_beyond_the_named_ones_are_refused_in_words(client):
    sensor = tokens.mint(subject=make_identity().pk, login="core.timer", token_type="sensor", lifetime_seconds=60)
    worker = tokens.mint(
        subject=1, login="worker:3", token_type="worker", lifetime_seconds=60, metadata={"worker_id": 3}
    )

    assert error_of(bearing(sensor).get(PACKS)) == (403, "FORBIDDEN", "Not admitted here: a token of type sensor")
    assert error_of(bearing(worker).get(PACKS)) == (403, "FORBIDDEN", "Not admitted here: a token of type worker")
    assert error_of(client.get("/api/v1/artifacts/1"))[2] == "Not admitted here: a token of type access"
    assert bearing(worker).get("/api/v1/artifacts/1").status_code == 404


# --- Methods and media types ------------------------------------------------------------------------------------


def test_wrong_method_is_405_with_the_error_body_and_401_without_token(client):
    assert error_of(client.delete(PACKS))[:2] == (405, "METHOD_NOT_ALLOWED")
    assert error_of(client.patch(f"{PACKS}/shop", {}))[:2] == (405, "METHOD_NOT_ALLOWED")
    assert client.delete(PACKS)["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert APIClient().delete(PACKS).status_code == 401


def test_unknown_path_is_404_with_an_empty_body(client):
    for answer in (
        client.get("/api/v1/nonsense"),
        client.get(f"{PACKS}/"),
        APIClient().post("/nonsense"),
        client.get("//"),
    ):
        assert (answer.status_code, answer.content) == (404, b"")


def test_fixed_words_win_over_path_parameters(client):
    assert client.post(f"{PACKS}/rename").status_code == 409


def test_refused_work_is_undone_by_nobody_but_its_own_transaction(client):
    make_pack(label="kept")
    assert error_of(client.post(f"{PACKS}/rename"))[:2] == (409, "CONFLICT")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "json",
        "application/jsonx",
    ],
)
def test_other_media_types_are_415(client, content_type):
    answer = client.generic("POST", PACKS, b'{"ref": "shop"}', content_type=content_type)
    assert error_of(answer)[:2] == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_media_type_may_name_a_charset(client):
    answer = client.generic("POST", PACKS, b"{}", content_type="application/json; charset=utf-8")
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "accept", ["application/xml", "image/*", "text/plain", "nonsense", "", "*/*", "application/json"]
)
def test_json_is_the_answer_whatever_is_accepted(client, accept):
    answer = client.get(PACKS, HTTP_ACCEPT=accept)
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


def test_format_parameter_belongs_to_the_endpoint(client):
    assert client.get(PACKS, {"format": "csv"}).status_code == 200


def test_head_is_get_without_a_body(client):
    answer = client.head(PACKS)
    assert (answer.status_code, answer.content) == (200, b"")


# --- Request ids ------------------------------------------------------------------------------------------------


def test_request_id_is_the_callers_when_it_is_a_uuid(client):
    given = "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert client.get(PACKS, HTTP_X_REQUEST_ID=given)["X-Request-Id"] == given
    assert client.get(PACKS, HTTP_X_REQUEST_ID=given.upper())["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x", "0f8fad5b-d9cb-469f-a165-70867728950", "z" * 36, "0f8fad5b\r\nd9cb"])
def test_request_id_is_made_when_the_callers_is_none(client, given):
    made = client.get(PACKS, HTTP_X_REQUEST_ID=given)["X-Request-Id"]
    assert len(made) == 36
    assert made != given


def test_every_answer_carries_a_request_id(client):
    answers = [APIClient().get(PACKS), client.get("/nonsense"), client.post(PACKS, {}), client.delete(PACKS)]
    assert all(len(answer["X-Request-Id"]) == 36 for answer in answers)


def test_log_lines_of_a_request_carry_its_id(client, monkeypatch):
    from structlog.contextvars import get_contextvars

    seen = []

    def filter_rows(self, rows):
        seen.append(get_contextvars()["request_id"])
        return rows

    monkeypatch.setattr(PackViewSet, "filter_rows", filter_rows)

    assert client.get(PACKS)["X-Request-Id"] == seen[0]
    assert "request_id" not in get_contextvars()


# --- Browsers ---------------------------------------------------------------------------------------------------


def forms_of(page):
    """Return what the page's text areas hold."""
    found = re.findall(r"<textarea[^>]*>\s*(.*?)</textarea>", page.content.decode(), re.DOTALL)
    return [json.loads(html.unescape(text)) for text in found]


def browse(client, path):
    return client.get(path, HTTP_ACCEPT="text/html,application/xhtml+xml")


def test_page_of_a_list_has_a_form_with_what_is_required(client):
    page = browse(client, PACKS)
    assert (page.status_code, forms_of(page)) == (200, [{"ref": "", "label": "", "version": ""}])
    assert "Fields: ref, label, version, config?, tags?, meta?, is_standard?, installed_by?" in page.content.decode()


def test_page_of_a_row_has_a_form_with_what_is_there(client):
    make_pack(ref="shop", label="<Shop>", description="old")

    page = browse(client, f"{PACKS}/shop")

    assert forms_of(page) == [{"label": "<Shop>", "description": {"op": "set", "value": "old"}}]
    assert client.put(f"{PACKS}/shop", forms_of(page)[0]).status_code == 200
    assert 'data-method="DELETE"' in page.content.decode()
    assert "<Shop>" not in page.content.decode()


def test_page_of_a_verb_has_a_form_to_send_it(client):
    make_pack(ref="shop")
    page = browse(client, f"{PACKS}/shop/touch")
    assert (page.status_code, forms_of(page)) == (405, [{}])


def test_page_shows_no_form_for_what_one_may_not(client):
    make_pack(ref="shop", is_standard=True)
    page = browse(signed_in(make_identity()), f"{PACKS}/shop")
    assert (page.status_code, forms_of(page)) == (200, [])
    assert 'data-method="DELETE"' not in page.content.decode()


def test_page_of_an_upload_has_no_text_form(client):
    assert forms_of(browse(client, "/api/v1/forms")) == []


def test_page_for_browsers_without_a_token_says_so(client):
    answer = APIClient().get(PACKS, HTTP_ACCEPT="text/html")
    assert answer.status_code == 401


def test_create_runs_once(client):
    PackViewSet.worked = 0
    client.post(PACKS, {"ref": "shop", "label": "Shop", "version": "1.0.0"})
    assert PackViewSet.worked == 1
