"""What the audit trail keeps of details and paths."""

import json

import pytest

from apps.identity.audit.masking import MASK, MOST_DETAIL_BYTES, masked_details, masked_path, masked_text

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "Password", "PASSWD", "token", "refreshToken", "access-token", "secret", "client_secret",
     "Authorization", "cookie", "value", "old_value", "values", "api_key", "private key", "X-Hub-Signature"],
)  # fmt: skip
def test_fields_named_like_secrets_are_masked_at_any_depth(name: str) -> None:
    given = {name: "s3cret", "deep": [{"er": {name: {"a": ["s3cret"]}}}], name + "_number": 12}

    kept = masked_details(given)

    assert kept[name] == MASK
    assert kept["deep"] == [{"er": {name: MASK}}]
    assert "s3cret" not in json.dumps(kept)


def test_whether_there_is_a_secret_is_none_itself() -> None:
    assert masked_details({"has_password": True, "token": None, "ref": "a.b", "count": 3, "share": 0.5}) == {
        "has_password": True, "token": None, "ref": "a.b", "count": 3, "share": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text, kept",
    [
        (f"Bearer {JWT}", f"Bearer {MASK}"),
        (f"sent {JWT} there", f"sent {MASK} there"),
        ("basic dXNlcjpwYXNz", f"basic {MASK}"),
        ("attune_it_Ab3-_x", MASK),
        ("key wh_0123456789abcdef0123456789abcdef.", f"key {MASK}."),
        ("postgres://user:pass@host/db", f"postgres://user:{MASK}@host/db"),
        ("a\x00b\ud800", "a\ufffdb?"),
        ("plain", "plain"),
    ],
)
def test_texts_that_look_like_secrets_are_masked(text: str, kept: str) -> None:
    assert masked_text(text) == kept
    assert masked_details({"note": text}) == {"note": kept}
    assert list(masked_details({text: 1})) == [kept]


@pytest.mark.parametrize(
    "path, kept",
    [
        ("/api/v1/webhooks/wh_0123456789abcdef0123456789abcdef", f"/api/v1/webhooks/{MASK}"),
        ("/api/v1/webhooks/wh_0123456789abcdef0123456789abcdef/raw", f"/api/v1/webhooks/{MASK}/raw"),
        ("/api/v1/webhooks/mistyped/raw", f"/api/v1/webhooks/{MASK}/raw"),
        ("//api/v1//WEBHOOKS//key", f"//api/v1//WEBHOOKS//{MASK}"),
        ("/webhook/wh_0123456789", f"/webhook/{MASK}"),
        ("/api/v1/triggers/core.x/webhooks/enable", "/api/v1/triggers/core.x/webhooks/enable"),
        ("/api/v1/triggers/core.x/webhooks/deliveries", "/api/v1/triggers/core.x/webhooks/deliveries"),
        ("/api/v1/webhooks/enabled", f"/api/v1/webhooks/{MASK}"),
        ("/" + "x" * 5000, "/" + "x" * 996 + "..."),
    ],
)
def test_paths_keep_no_key_of_a_webhook(path: str, kept: str) -> None:
    assert masked_path(path) == kept


@pytest.mark.parametrize(
    "details",
    [
        {"text": "x" * 100_000},
        {"list": list(range(10_000))},
        {"many": {f"field {number}": "x" * 50 for number in range(1000)}},
        {f"field {number}" * 20: "x" * 500 for number in range(1000)},
        {"snow": "\u2603" * 9000},
    ],
)
def test_details_stay_small(details: dict) -> None:
    kept = masked_details(details)

    assert len(json.dumps(kept, ensure_ascii=False).encode()) <= MOST_DETAIL_BYTES


def test_what_was_cut_is_marked() -> None:
    kept = masked_details({"ids": list(range(10_000)), "reason": "because"})

    assert kept == {"ids": [*range(10), "... 9990 more"], "reason": "because", "truncated": True}


def test_anything_becomes_json() -> None:
    nested: dict = {}
    innermost = nested
    for _level in range(100):
        innermost["next"] = innermost = {}

    kept = masked_details(
        {"nested": nested, "not a number": float("nan"), "set": {"a"}, "object": ValueError("x"), 5: 1}
    )

    assert json.loads(json.dumps(kept, allow_nan=False))["not a number"] == "nan"
    assert kept["set"] == ["a"]
    assert kept["object"] == "x"
