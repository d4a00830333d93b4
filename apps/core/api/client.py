"""Where a request comes from: addresses, own origin; forwarding headers count only from trusted proxies."""

import ipaddress
from functools import cache

from django.conf import settings
from django.http import HttpRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@cache
def _trusted() -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(network, strict=False) for network in settings.TRUSTED_PROXIES)


def address_of(request: HttpRequest) -> str:
    """
    Return the address of the client: the last hop that is no trusted proxy (auth.md section 12).

    Without a trusted peer the peer itself, whatever the headers say.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    if not is_trusted(peer):
        return peer
    hops: list[str] = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    for hop in reversed(hops):
        if not is_trusted(hop):
            return hop
    return hops[0] if hops else str(request.META.get("HTTP_X_REAL_IP") or peer)


def is_trusted(address: str) -> bool:
    """Whether forwarding headers from this peer count."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in _trusted() if found.version == network.version)


def is_secure(request: HttpRequest) -> bool:
    """Whether the client speaks https, to us or to a trusted proxy."""
    forwarded = request.META.get("HTTP_X_FORWARDED_PROTO", "").split(",")[0].strip()
    return request.is_secure() or (forwarded == "https" and is_trusted(request.META.get("REMOTE_ADDR", "")))


def is_own_origin(request: HttpRequest, origin: str) -> bool:
    """Whether a page of this origin is ours, or one that may call us (CORS)."""
    own = f"{'https' if is_secure(request) else 'http'}://{request.get_host()}"
    return origin == own or origin == settings.PUBLIC_API_URL or origin in settings.CORS_ALLOWED_ORIGINS
