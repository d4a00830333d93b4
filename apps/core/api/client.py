"""Where a request comes from: addresses, own origin; forwarding headers count only from trusted proxies."""

import ipaddress
import re
from functools import cache, lru_cache

from django.conf import settings
from django.http import HttpRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_BRACKETED = re.compile(r"\[([^\]]*)\](?::[0-9]+)?")
_IPV4_WITH_PORT = re.compile(r"([0-9.]+):[0-9]+")


@cache
def _trusted() -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(network, strict=False) for network in settings.TRUSTED_PROXIES)


def address_of(request: HttpRequest) -> str:
    """
    Return the address of the client in its usual spelling: the last hop that is no trusted proxy (auth.md section 12).

    Without a trusted peer the peer itself, whatever the headers say; "" when there is none (a Unix socket).
    """
    meta = request.META
    return _client(
        str(meta.get("REMOTE_ADDR", "")), meta.get("HTTP_X_FORWARDED_FOR", ""), meta.get("HTTP_X_REAL_IP", "")
    )


@lru_cache(maxsize=1000)  # every request asks, and the same clients come again
def _client(peer_text: str, forwarded_for: str, real_ip: str) -> str:
    peer = parse_address(peer_text)
    if peer is None:
        return ""
    if not _is_trusted(peer):
        return str(peer)
    return str(_forwarded(forwarded_for) or parse_address(real_ip) or peer)


def _forwarded(header: str) -> Address | None:
    """Return the client that X-Forwarded-For tells of. What stands left of an entry that is no address is not believed."""
    nearest: Address | None = None
    for entry in reversed(header.split(",")):
        if not entry.strip():
            continue
        hop = parse_address(entry)
        if hop is None:
            break
        nearest = hop
        if not _is_trusted(hop):
            break
    return nearest


def parse_address(text: str) -> Address | None:
    """
    Return the address that a header, a socket or a person names, None when it is none.

    Takes a port, brackets and a zone along; an IPv4 address in its IPv6 form is the IPv4 address.
    """
    text = text.strip().strip('"')
    if bracketed := _BRACKETED.fullmatch(text):
        text = bracketed[1]
    elif with_port := _IPV4_WITH_PORT.fullmatch(text):
        text = with_port[1]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_trusted(address: str) -> bool:
    """Whether forwarding headers from this peer count."""
    found = parse_address(address)
    return found is not None and _is_trusted(found)


def _is_trusted(address: Address) -> bool:
    return any(address in network for network in _trusted() if address.version == network.version)


def is_secure(request: HttpRequest) -> bool:
    """Whether the client speaks https, to us or to a trusted proxy."""
    forwarded = request.META.get("HTTP_X_FORWARDED_PROTO", "").split(",")[0].strip()
    return request.is_secure() or (forwarded == "https" and is_trusted(request.META.get("REMOTE_ADDR", "")))


def is_own_origin(request: HttpRequest, origin: str) -> bool:
    """Whether a page of this origin is ours, or one that may call us (CORS)."""
    own = f"{'https' if is_secure(request) else 'http'}://{request.get_host()}"
    return origin == own or origin == settings.PUBLIC_API_URL or origin in settings.CORS_ALLOWED_ORIGINS
