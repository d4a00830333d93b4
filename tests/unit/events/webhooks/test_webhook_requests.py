"""What a request says, when it was sent, and what is kept of it."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.api.parsers import check_text
from apps.core.errors import BadRequest
from apps.events.webhooks import bodies, presets, traces, window
from apps.events.webhooks.bodies import InvalidPayload, UnknownEncoding, Wrapped
from apps.events.webhooks.config import DeliveryIdPlace
from apps.events.webhooks.window import OutsideWindow

DEEP = b"[" * 10_000 + b"]" * 10_000

# --- The wrapped body -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"{}", b"null", b"[]", b'"x"', b"5", b"1.0", b'{"a": {"b": [1]}}'])
def test_payload_is_any_json(payload: bytes) -> None:
    assert bodies.unwrapped(b'{"payload": ' + payload + b"}") == Wrapped(payload=json.loads(payload))


def test_optional_fields_are_kept_as_sent() -> None:
    body = (
        b'{"payload": 1, "headers": ["any"], "source_ip": "x", "user_agent": null, "idempotency_key": "k", "other": 1}'
    )
    assert bodies.unwrapped(body) == Wrapped(
        payload=1, sent={"headers": ["any"], "source_ip": "x"}, idempotency_key="k"
    )


def test_last_of_two_equal_names_counts() -> None:
    assert bodies.unwrapped(b'{"payload": 1, "payload": 2}').payload == 2


@pytest.mark.parametrize(
    "body",
    [
        b"", b" \n", b"x", b"{", b"[]", b'"x"', b"null", b"{}", b'{"Payload": 1}', b'{"payload": NaN}',
        b'{"payload": Infinity}', b'{"payload": 1e999}', b'{"payload": ' + b"9" * 5000 + b"}", b'{"payload": "\xff"}',
        b'{"payload": "\\u0000"}', b'{"payload": {"\\u0000": 1}}', b'{"payload": "\\ud800"}', b'{"payload": "\\udc00x"}',
        b'{"payload": ' + DEEP + b"}", b'{"payload":' * 10_000 + b"1" + b"}" * 10_000, b'{"payload": 1}x',
        b'{"payload": 1, "source_ip": 5}', b'{"payload": 1, "user_agent": {}}', b'{"payload": 1, "idempotency_key": 5}',
        '{"payload": 1}'.encode("utf-16"), b"\x1f\x8b\x08\x00",
    ],
)  # fmt: skip
def test_body_that_cannot_be_unwrapped(body: bytes) -> None:
    with pytest.raises(InvalidPayload, match=r"^Invalid JSON payload: .") as refused:
        bodies.unwrapped(body)
    assert refused.value.status == 400


# --- Any body at all --------------------------------------------------------------------------------------------


def text_of(body: bytes, content_type: str) -> Any:
    return bodies.decoded(body, content_type=content_type)


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "content_type", "payload"),
    [
        (b"", "", {}),
        (b"", JSON, {}),
        (b"", "image/png", {}),
        (b'{"a": 1}', JSON, {"a": 1}),
        (b"[1]", "application/json; charset=utf-8", [1]),
        (b"null", "Application/JSON", None),
        (b'{"a": 1}', "application/cloudevents+json", {"a": 1}),
        (b'{"a": 1}', "", {"a": 1}),
        (b"5", "", 5),
        (b"\xef\xbb\xbf5", JSON, 5),
        (b"a=1&b=x+y%20z&b=&%C3%A4=%C3%B6", FORM, {"a": "1", "b": ["x y z", ""], "ä": "ö"}),
        (b"a=1&a=2&a=3", FORM, {"a": ["1", "2", "3"]}),
        (b"payload=%7B%22a%22%3A1%7D", FORM, {"a": 1}),
        (b"payload=%5B1%5D", FORM, [1]),
        (b"payload=x", FORM, {"payload": "x"}),
        (b"payload=1&other=2", FORM, {"payload": "1", "other": "2"}),
        (b"payload=1&payload=2", FORM, {"payload": ["1", "2"]}),
        (b"name=%FF", FORM, {"name": "\ufffd"}),
        (b"&&", FORM, {}),
        (b"hello", "text/plain", {"text": "hello"}),
        ("grüß".encode("latin-1"), "text/plain; charset=ISO-8859-1", {"text": "grüß"}),
        ("grüß".encode("utf-16"), 'text/plain; charset="UTF-16"', {"text": "grüß"}),
        (b"gr\xfc\xdf", "text/plain", {"text": "gr\ufffd\ufffd"}),
        (b"hello", "text/plain; charset=unknown", {"text": "hello"}),
        (b"xn--a", "text/plain; charset=idna", {"text": "xn--a"}),
        (b"\\u0041", "text/plain; charset=unicode_escape", {"text": "\\u0041"}),
        (b"<a/>", "application/xml", {"text": "<a/>"}),
        (b"<a/>", "text/xml", {"text": "<a/>"}),
        (b"<a/>", "application/atom+xml", {"text": "<a/>"}),
        (b'{"a": 1}', "text/plain", {"text": '{"a": 1}'}),
        (b"hello {", "", {"text": "hello {"}),
        (b"NaN", "", {"text": "NaN"}),
        (b"\x00\x01", "", {"base64": "AAE=", "content_type": "application/octet-stream"}),
        (b"\xff\xfe", "", {"base64": "//4=", "content_type": "application/octet-stream"}),
        (b"\x89PNG", "image/png", {"base64": base64.b64encode(b"\x89PNG").decode(), "content_type": "image/png"}),
        (b"hello", "nonsense", {"base64": "aGVsbG8=", "content_type": "nonsense"}),
    ],
)
def test_body_of_a_kind(body: bytes, content_type: str, payload: Any) -> None:
    assert text_of(body, content_type) == payload


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", JSON), (b" ", JSON), (b"x", "a/b+json"), (DEEP, JSON), (DEEP, ""), (b'"\\u0000"', JSON), (b'"\\u0000"', ""),
        (b'"\\ud800"', ""), (b"payload=" + DEEP, FORM), (b'payload="\\u0000"', FORM), (b"\xff", JSON), (b"NaN", JSON),
    ],
)  # fmt: skip
def test_json_that_cannot_be_kept(body: bytes, content_type: str) -> None:
    with pytest.raises(InvalidPayload, match=r"^Invalid JSON payload: ."):
        text_of(body, content_type)


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"a\x00", "text/plain"), (b"a=%00", FORM), (b"%00=a", FORM), (b"a=1&" * 10_001, FORM)]
)
def test_text_that_cannot_be_kept(body: bytes, content_type: str) -> None:
    with pytest.raises(BadRequest):
        text_of(body, content_type)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "x"])
def test_packed_body_is_refused(encoding: str) -> None:
    with pytest.raises(UnknownEncoding) as refused:
        bodies.decoded(b"", content_type=JSON, content_encoding=encoding)
    assert refused.value.status == 415
    assert bodies.decoded(b"5", content_type=JSON, content_encoding="Identity") == 5


_KINDS = st.sampled_from([JSON, FORM, "", "text/plain", "text/plain; charset=utf-16"])


@given(st.binary(max_size=200), _KINDS | st.text(st.characters(min_codepoint=1, max_codepoint=255)))
def test_any_body_gives_a_payload_or_a_refusal(body: bytes, content_type: str) -> None:
    try:
        payload = text_of(body, content_type)
    except BadRequest:
        return
    check_text(payload)  # what a database would refuse


# --- Time -------------------------------------------------------------------------------------------------------

NOW = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [-300, -1, 0, 1, 300])
def test_time_within_the_window(seconds: int) -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC) + timedelta(seconds=seconds)
    for text in (str(int(moment.timestamp())), moment.isoformat(), moment.isoformat().replace("+00:00", "Z")):
        window.check(f" {text} ", now=moment + timedelta(seconds=-seconds), window_seconds=300)


@pytest.mark.parametrize("seconds", [-301, 301, 10**6, -(10**6)])
def test_time_outside_the_window(seconds: int) -> None:
    text = str(int(NOW.timestamp()) + seconds)
    with pytest.raises(OutsideWindow, match=r"^Timestamp outside the allowed window$"):
        window.check(text, now=NOW.replace(microsecond=0), window_seconds=300)


@pytest.mark.parametrize(
    "text",
    [
        None, "", "x", "-1", "+1", "1e9", "1772366400.5", "1_772_366_400", "nan", "9" * 11, "9" * 100, "\u0661",
        "2026-03-01", "2026-03-01T12:00:00", "2026-03-01T12:00Z", "2026-13-01T12:00:00Z", "2026-03-01T12:00:00+99:99",
        "0001-01-01T00:00:00+23:59",
    ],
)  # fmt: skip
def test_what_is_no_time(text: str | None) -> None:
    with pytest.raises(OutsideWindow):
        window.check(text, now=NOW, window_seconds=10**6)


def test_offset_and_fraction_of_a_time_count() -> None:
    window.check("2026-03-01T14:00:00.5+02:00", now=NOW, window_seconds=1)


# --- What senders say of a delivery -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "headers", "payload", "event_type", "delivery_id"),
    [
        ("github", {"x-github-event": "push", "x-github-delivery": "d1"}, {}, "push", "d1"),
        ("gitlab", {"x-gitlab-event": "Push Hook", "x-gitlab-event-uuid": "u"}, {}, "Push Hook", "u"),
        ("gitlab", {"idempotency-key": "k", "x-gitlab-event-uuid": "u"}, {}, None, "k"),
        ("slack", {}, {"type": "event_callback", "event": {"type": "message"}, "event_id": "E1"}, "message", "E1"),
        ("slack", {}, {"type": "block_actions", "event": "x"}, "block_actions", None),
        ("stripe", {}, {"id": "evt_1", "type": "invoice.paid"}, "invoice.paid", "evt_1"),
        ("stripe", {}, {"id": 17, "type": 5}, None, "17"),
        ("standard", {"webhook-id": "m1"}, {"type": "user.created"}, "user.created", "m1"),
        ("standard", {}, ["x"], None, None),
        (None, {"x-github-delivery": "d1"}, {"id": "x", "type": "y"}, None, None),
        ("unknown", {"x-github-delivery": "d1"}, {}, None, None),
    ],
)
def test_event_type_and_delivery_id(
    preset: str | None, headers: dict[str, str], payload: Any, event_type: str | None, delivery_id: str | None
) -> None:
    assert presets.event_type_of(preset, headers, payload) == event_type
    assert presets.delivery_id_of(preset, None, headers, payload) == delivery_id


@pytest.mark.parametrize(
    ("place", "found"),
    [
        (DeliveryIdPlace(header="X-Delivery-Id"), "h"),
        (DeliveryIdPlace(header="X-Other"), None),
        (DeliveryIdPlace(path="order.id"), "7"),
        (DeliveryIdPlace(path="lines.1.sku"), "b"),
        (DeliveryIdPlace(path="lines.2.sku"), None),
        (DeliveryIdPlace(path="lines.-1.sku"), None),
        (DeliveryIdPlace(path="order.id.x"), None),
        (DeliveryIdPlace(path="order"), None),
        (DeliveryIdPlace(path="flag"), None),
        (DeliveryIdPlace(path=""), None),
    ],
)
def test_configured_place_of_the_delivery_id(place: DeliveryIdPlace, found: str | None) -> None:
    payload = {"order": {"id": 7}, "lines": [{"sku": "a"}, {"sku": "b"}], "flag": True}
    headers = {"x-delivery-id": "h", "x-github-delivery": "not this one"}
    assert presets.delivery_id_of("github", place, headers, payload) == found


def test_id_becomes_a_key_of_255_visible_characters() -> None:
    assert presets.id_text(" a1 ") == "a1"
    assert presets.id_text("x" * 255) == "x" * 255
    for odd in ("x" * 256, "a b", "ä", "a\x00"):
        hashed = presets.id_text(odd)
        assert hashed is not None
        assert hashed.startswith("sha256:")
        assert len(hashed) == 71
    assert [presets.id_text(value) for value in ("", "  ", None, True, {}, [], 1.5)] == [None] * 7


# --- What is kept -----------------------------------------------------------------------------------------------


def test_key_is_random_and_shown_shortened() -> None:
    keys = {traces.new_key() for _ in range(100)}
    assert len(keys) == 100
    assert traces.shortened("wh_0123456789abcdef0123456789abcdef") == "wh_0123...cdef"
    assert traces.shortened("short") == "..."


def test_credentials_are_not_kept() -> None:
    headers = {
        "authorization": "a", "proxy-authorization": "b", "cookie": "c", "x-gitlab-token": "d", "x-shop-signature": "e",
        "x-copy": "has hush-hush in it", "x-github-event": "push",
    }  # fmt: skip
    kept = traces.kept_headers(headers, withheld=["X-Shop-Signature"], secret_values=["hush-hush"])
    assert kept == {"x-github-event": "push"}


def test_headers_are_kept_up_to_a_number_and_a_size() -> None:
    many = {f"x-{number}": "v" for number in range(100)}
    assert list(traces.kept_headers(many)) == list(many)[:64]
    large = {"x-large": "v" * 8186, "x-small": "v"}
    assert list(traces.kept_headers(large)) == ["x-small"]
    fits = {"x-large": "v" * (8192 - 7)}
    assert traces.kept_headers(fits) == fits
