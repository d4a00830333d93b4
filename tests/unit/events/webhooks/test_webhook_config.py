"""Settings of a webhook: read leniently and safely, changed section by section, secrets never shown."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.api.client import parse_address
from apps.core.errors import ValidationFailed
from apps.events.webhooks import config, editing
from apps.events.webhooks.config import DeliveryIdPlace, RateLimit, Replay, WebhookConfig, parse_network, read

MARKER = {"$attune_secret": True, "redacted": True}
WHOLE = {
    "payload_size_limit_kb": 256,
    "ip_whitelist": {"enabled": True, "ips": ["10.0.0.0/8", "203.0.113.7"]},
    "rate_limit": {"enabled": True, "requests": 60, "window_seconds": 60},
    "hmac": {"enabled": True, "secret": "hush", "algorithm": "sha512"},
    "preset": "github",
    "raw": {"enabled": False, "plain_url": True},
    "replay": {"enabled": True, "timestamp_header": "X-Time", "window_seconds": 10},
    "idempotency": {"header": "X-Delivery-Id"},
}

# --- Reading ----------------------------------------------------------------------------------------------------


def test_config_of_the_specification() -> None:
    found = read(WHOLE)

    assert (found.size_limit_kb, found.rate) == (256, RateLimit(requests=60, window_seconds=60))
    assert found.signing is not None
    assert (found.preset, found.signing.secret, found.signing.algorithm) == ("github", "hush", "sha512")
    assert (found.raw_enabled, found.plain_url) == (False, True)
    assert found.replay == Replay(timestamp_header="X-Time", window_seconds=10)
    assert found.delivery_id == DeliveryIdPlace(header="X-Delivery-Id")


@pytest.mark.parametrize("column", [None, {}, [], "x", 5, {"unknown": 1}, dict.fromkeys(WHOLE)])
def test_nothing_asked_for(column: object) -> None:
    assert read(column) == WebhookConfig()


@pytest.mark.parametrize("name", ["ip_whitelist", "rate_limit", "hmac"])
def test_section_that_is_switched_off(name: str) -> None:
    column = {name: {**WHOLE[name], "enabled": False}}  # type: ignore[dict-item]  # sections only
    assert read(column) == WebhookConfig()


def test_section_counts_unless_it_is_switched_off() -> None:
    found = read({"hmac": {"secret": "hush"}, "ip_whitelist": {"ips": []}, "rate_limit": {"requests": 1}})
    assert found.signing is not None
    assert found.allowed == ()
    assert found.rate == RateLimit(requests=1, window_seconds=60)


@pytest.mark.parametrize("section", [True, "secret", 5, [], {"secret": 5}, {"enabled": "no"}, {"secret": MARKER}])
def test_signatures_that_nobody_can_make_out_are_wanted_all_the_same(section: object) -> None:
    signing = read({"hmac": section}).signing
    assert signing is not None
    assert signing.secrets_at(datetime.now(UTC)) == ()


@pytest.mark.parametrize("section", [True, "10.0.0.0/8", ["10.0.0.0/8"], {}, {"ips": "10.0.0.0/8"}, {"ips": [5, "x"]}])
def test_allow_list_that_nobody_can_make_out_admits_nobody(section: object) -> None:
    assert read({"ip_whitelist": section}).allows(ip_address("10.0.0.1")) is False


@pytest.mark.parametrize(
    "section",
    [{"requests": 0}, {"requests": -1}, {"requests": 5, "window_seconds": 0}, {"requests": "5"}, {"requests": True}, {}, 5],
)  # fmt: skip
def test_rate_that_is_none(section: object) -> None:
    assert read({"rate_limit": section}).rate is None


@pytest.mark.parametrize(
    ("value", "limit"), [(5, 5), (5.9, 5), (0, 1024), (-1, 1024), ("5", 1024), (True, 1024), (float("inf"), 1024)]
)
def test_size_limit(value: object, limit: int) -> None:
    assert read({"payload_size_limit_kb": value}).size_limit_kb == limit


def test_preset_wants_signatures_whatever_hmac_says() -> None:
    signing = read({"preset": "slack", "hmac": {"enabled": False, "secret": "hush"}}).signing
    assert signing is not None
    assert (signing.preset, signing.secret) == ("slack", "hush")


def test_replay_window_has_an_end() -> None:
    assert read({"replay": {"window_seconds": 10**9}}).replay == Replay(
        window_seconds=config.LONGEST_REPLAY_WINDOW_SECONDS
    )
    assert read({"replay": {"enabled": False}}).replay == Replay(enabled=False)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from(["10.0.0.0/8"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*WHOLE, "enabled", "ips", "requests", "window_seconds", "secret", "header", "path"]),
                inner,
            )
        ),
        max_leaves=15,
    )
)
def test_any_column_can_be_read_and_shown(column: Any) -> None:
    found = read(column)
    found.allows(ip_address("10.0.0.1"))
    if found.signing is not None:
        found.signing.secrets_at(datetime.now(UTC))
    editing.shown(column)


# --- Addresses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "client", "allowed"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.1.2.3/8", "10.255.0.1", True),
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("0.0.0.0/0", "203.0.113.8", True),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("10.0.0.0/8", "::ffff:203.0.113.7", False),
        ("::ffff:10.0.0.0/104", "10.0.0.1", True),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("::/0", "10.0.0.1", False),
        ("::/0", "2001:db8::1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8:1::5", True),
        ("2001:db8::/32", "2001:db9::5", False),
        (" 10.0.0.0/8 ", "10.0.0.1", True),
    ],
)
def test_address_in_a_range(entry: str, client: str, allowed: bool) -> None:
    assert read({"ip_whitelist": {"ips": [entry]}}).allows(parse_address(client)) is allowed


def test_client_without_an_address_passes() -> None:
    assert read({"ip_whitelist": {"ips": ["10.0.0.0/8"]}}).allows(None) is True
    assert read({}).allows(None) is None


@pytest.mark.parametrize(
    "entry", ["", "x", "10.0.0", "10.0.0.0/33", "::1/129", "fe80::1%eth0", 5, None, "10.0.0.0/8/8"]
)
def test_what_is_no_range(entry: object) -> None:
    assert parse_network(entry) is None


# --- Changing and showing ---------------------------------------------------------------------------------------


def test_section_replaces_null_removes_absent_stays() -> None:
    after = editing.edited(WHOLE, {"rate_limit": {"requests": 5}, "replay": None})
    assert after == {name: value for name, value in WHOLE.items() if name != "replay"} | {
        "rate_limit": {"requests": 5}
    }


def test_secret_is_shown_as_the_marker_and_the_marker_keeps_it() -> None:
    shown = editing.shown(WHOLE)
    assert shown["hmac"] == {"enabled": True, "secret": MARKER, "algorithm": "sha512"}
    assert "hush" not in str(shown)
    assert editing.edited(WHOLE, {"hmac": shown["hmac"]}) == WHOLE


def test_marker_without_a_stored_secret_is_refused() -> None:
    with pytest.raises(ValidationFailed) as refused:
        editing.edited({}, {"hmac": {"secret": MARKER}})
    assert refused.value.details == [
        {"field": "webhook_config.hmac.secret", "message": "There is no stored value that this could stand for."}
    ]


def test_unknown_keys_of_the_column_are_kept_and_not_shown() -> None:
    column = {
        "own": {"secret": "hush"},
        "hmac": {"secret": "hush", "token": "hush"},
        "preset": ["hush"],
        "raw": "hush",
    }
    assert editing.shown(column) == {"hmac": {"secret": MARKER}}
    assert editing.edited(column, {"payload_size_limit_kb": 5}) == {**column, "payload_size_limit_kb": 5}


@pytest.mark.parametrize(
    ("column", "changes"),
    [
        ({}, {"preset": "github"}),
        ({}, {"hmac": {"enabled": True}}),
        (WHOLE, {"hmac": None}),
        (WHOLE, {"hmac": {"algorithm": "sha256"}}),
        ({}, {"preset": "standard", "hmac": {"secret": "whsec_###"}}),
        ({}, {"preset": "standard", "hmac": {"secret": "whsec_"}}),
        ({}, {"preset": "gitlab", "hmac": {"secret": "whsec_###"}}),
    ],
)
def test_signatures_need_a_secret_that_can_be_used(column: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationFailed) as refused:
        editing.edited(column, changes)
    assert refused.value.details is not None
    assert refused.value.details[0]["field"] == "webhook_config.hmac.secret"


@pytest.mark.parametrize(
    "changes",
    [
        {"hmac": {"enabled": False}},
        {"preset": "gitlab", "hmac": {"secret": "plain"}},
        {"preset": "standard", "hmac": {"secret": "whsec_aHVzaA=="}},
    ],
)
def test_secrets_that_will_do(changes: dict[str, Any]) -> None:
    assert editing.edited({}, changes) == changes


def test_previous_secret_counts_until_its_time() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    section = {"secret": "new", "previous_secret": "old", "previous_secret_expires_at": "2026-03-02T00:00:00Z"}
    signing = read({"hmac": section}).signing
    assert signing is not None
    assert signing.secrets_at(now) == ("new", "old")
    assert signing.secrets_at(now + timedelta(days=1)) == ("new",)
    assert editing.shown({"hmac": section})["hmac"]["previous_secret"] == MARKER
