"""Whose request it is: sockets, forwarding headers, and what senders put into them."""

import pytest
from django.http import HttpRequest

from apps.core.api.client import address_of, parse_address


def asked_by(peer: str, forwarded: str | None = None, real_ip: str | None = None) -> str:
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = peer
    if forwarded is not None:
        request.META["HTTP_X_FORWARDED_FOR"] = forwarded
    if real_ip is not None:
        request.META["HTTP_X_REAL_IP"] = real_ip
    return address_of(request)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7 ", "203.0.113.7"),
        ("203.0.113.7:5123", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::FFFF:CB00:7107", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("203.0.113", None),
        ("203.0.113.07", None),
        ("0x7f.1", None),
        ("203.0.113.7:port", None),
        ("[203.0.113.7", None),
        ("::ffff:203.0.113.7.1", None),
        ("1" * 10_000, None),
        ("٢٠٣.0.113.7", None),
    ],
)
def test_address_of_a_text(text: str, address: str | None) -> None:
    found = parse_address(text)
    assert (None if found is None else str(found)) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "real_ip", "client"),
    [
        ("203.0.113.7", None, None, "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "198.51.100.2", "203.0.113.7"),  # no proxy of ours: its headers are hearsay
        ("10.0.0.1", "198.51.100.1", None, "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", None, "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1", None, "198.51.100.1"),  # the sender wrote the first
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2", None, "198.51.100.1"),
        ("10.0.0.1", "10.0.0.9", None, "10.0.0.9"),
        ("10.0.0.1", "10.0.0.9, 10.0.0.2", None, "10.0.0.9"),
        ("10.0.0.1", "198.51.100.1, garbage", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, garbage, 10.0.0.2", None, "10.0.0.2"),
        ("10.0.0.1", "garbage", "198.51.100.2", "198.51.100.2"),
        ("10.0.0.1", " , ,", None, "10.0.0.1"),
        ("10.0.0.1", None, "198.51.100.2", "198.51.100.2"),
        ("10.0.0.1", None, "garbage", "10.0.0.1"),
        ("10.0.0.1", "::ffff:198.51.100.1", None, "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:443", None, "2001:db8::1"),
        ("127.0.0.1", "198.51.100.1", None, "198.51.100.1"),
        ("::1", "198.51.100.1", None, "198.51.100.1"),
        ("", "198.51.100.1", None, ""),
    ],
)
def test_client_of_a_request(peer: str, forwarded: str | None, real_ip: str | None, client: str) -> None:
    assert asked_by(peer, forwarded, real_ip) == client
