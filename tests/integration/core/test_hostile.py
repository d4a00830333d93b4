"""What a hostile client sends is refused in words; nothing is a fault of the server."""

import json

import pytest

from tests.clients import anonymous, signed_in
from tests.factories import make_pack

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.integration.core.example")]

PACKS, ECHO = "/api/v1/packs", "/api/v1/artifacts/echo"


@pytest.fixture
def client():
    return signed_in()


def send(client, raw, path=ECHO):
    return client.generic("POST", path, raw, content_type="application/json")


def error_of(answer):
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]


@pytest.mark.parametrize(
    "raw", [b"{", b"nope", b"\xff\xfe", b'{"a": 1,}', b"[" * 3, b'{"a": NaN}', b"'a'", b'{"a": ' + b"1" * 5000 + b"}"]
)
def test_malformed_json_is_a_bad_request(client, raw):
    assert error_of(send(client, raw)) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("depth", [201, 2_000, 100_000])
def test_deep_json_is_a_bad_request(client, depth):
    assert error_of(send(client, b"[" * depth + b"]" * depth)) == (400, "BAD_REQUEST")
    assert error_of(send(client, b'{"a":' * depth + b"1" + b"}" * depth)) == (400, "BAD_REQUEST")


def test_json_at_the_limit_of_nesting_comes_back(client):
    raw = b"[" * 200 + b"]" * 200
    assert send(client, raw).json() == {"data": json.loads(raw)}


def test_integers_and_floats_come_back_exactly(client):
    values = [2**63 - 1, -(2**63), 1.0, 0, -0.5, 10**40]
    answer = send(client, json.dumps(values).encode())
    assert answer.json()["data"] == values
    assert [type(value) for value in answer.json()["data"]] == [int, int, float, int, float, int]


@pytest.mark.parametrize(
    "raw", [b'{"a": "\\u0000"}', b'{"\\u0000": 1}', b'[["x\\u0000"]]', b'"\\ud800"', b'{"a": "\x00"}']
)
def test_nul_and_half_surrogates_are_bad_requests(client, raw):
    assert error_of(send(client, raw)) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("path", [f"{PACKS}/a%00b", f"{PACKS}?ref=a%00b", f"{PACKS}?a%00b=1", f"{PACKS}/%00"])
def test_nul_in_path_and_query_is_a_bad_request(client, path):
    assert error_of(client.get(path)) == (400, "BAD_REQUEST")
    assert anonymous().get(path).status_code == 401


@pytest.mark.parametrize(
    "ref", ["%0A", "core%0A", "..%2F..", "%FF%FE", "%25", "%20", "a" * 5000, "'; DROP TABLE pack; --", "é"]
)
def test_odd_refs_are_not_found(client, ref):
    assert client.get(f"{PACKS}/{ref}").status_code == 404


def test_line_break_behind_a_path_is_another_path(client):
    assert client.get(f"{PACKS}%0A").status_code == 404


@pytest.mark.parametrize(
    ("row_id", "status"),
    [
        ("abc", 400),
        ("1.5", 400),
        ("1e3", 400),
        ("0", 404),
        ("-1", 404),
        (str(2**63), 404),
        ("9" * 300, 404),
        ("9" * 5000, 400),
    ],
)
def test_ids_out_of_range_are_refused_in_words(row_id, status):
    from apps.identity import tokens
    from tests.clients import bearing

    token = tokens.mint(subject=1, login="w", token_type="worker", lifetime_seconds=60, metadata={"worker_id": 1})
    assert bearing(token).get(f"/api/v1/artifacts/{row_id}").status_code == status


def test_body_above_ten_mebibytes_is_too_large(client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert error_of(send(client, json.dumps("x" * 1000).encode())) == (413, "PAYLOAD_TOO_LARGE")
    assert send(client, json.dumps("x" * 900).encode()).status_code == 200


def form(client, body, boundary="x", **headers):
    raw = body.replace("\n", "\r\n").encode("latin-1")
    return client.generic(
        "POST", "/api/v1/forms", raw, content_type=f"multipart/form-data; boundary={boundary}", **headers
    )


FORM = '--x\nContent-Disposition: form-data; name="{name}"{more}\n\n{value}\n--x--\n'


def test_form_is_read(client):
    assert form(client, FORM.format(name="name", more="", value="n")).json()["data"] == {"name": "n", "size": None}
    assert form(client, FORM.format(name="file", more='; filename="f"', value="abc")).json()["data"]["size"] == 3


@pytest.mark.parametrize(
    "body",
    [
        FORM.format(name="name", more="", value="a\0b"),
        FORM.format(name="na\0me", more="", value="b"),
        "no boundary at all",
        '--x\nContent-Disposition: form-data; name="name"\nContent-Transfer-Encoding: base64\n\n!\n--x--\n',
    ],
)
def test_form_that_cannot_be_stored_is_no_fault(client, body):
    assert form(client, body).status_code in (201, 400)
    if "\0" in body:
        assert error_of(form(client, body)) == (400, "BAD_REQUEST")


def test_form_without_boundary_is_a_bad_request(client):
    answer = client.generic("POST", "/api/v1/forms", b"x", content_type="multipart/form-data")
    assert error_of(answer) == (400, "BAD_REQUEST")


def test_form_with_too_much_text_is_too_large(client, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert error_of(form(client, FORM.format(name="name", more="", value="x" * 2000))) == (413, "PAYLOAD_TOO_LARGE")


def test_huge_query_string_is_answered(client):
    make_pack()
    assert client.get(f"{PACKS}?{'&'.join(f'a{n}=1' for n in range(3000))}").status_code in (200, 400)


def test_json_bomb_of_keys_is_answered(client):
    raw = json.dumps({f"k{n}": n for n in range(100_000)}).encode()
    assert send(client, raw).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "bearer x",
        "Basic YTpi",
        "Bearer\tx",
        "Bearer x y",
        "Token x",
        "Bearer " + "x" * 60_000,
        "Bearer é",
    ],
)
def test_odd_authorization_headers_are_invalid_tokens(header):
    answer = anonymous().get(PACKS, HTTP_AUTHORIZATION=header)
    assert (answer.status_code, answer.json()) == (
        401, {"error": {"code": 401, "message": "Invalid authentication token"}}
    )  # fmt: skip


def test_host_header_that_is_no_host_is_a_bad_request(client):
    answer = client.get(PACKS, HTTP_HOST="a b/c")
    assert answer.status_code in (200, 400)


def test_faults_say_nothing_of_the_server(client, monkeypatch):
    from tests.integration.core.example import PackViewSet

    def broken(self, rows):
        raise RuntimeError("/secret/path SELECT 1")

    monkeypatch.setattr(PackViewSet, "filter_rows", broken)

    answer = client.get(PACKS)

    assert answer.json() == {
        "error": "Something went wrong on the server",
        "code": "INTERNAL_SERVER_ERROR",
        "status": 500,
    }
