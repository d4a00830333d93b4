"""What is kept of a request: headers without credentials, and a key that is none any more."""

import secrets
from collections.abc import Collection, Mapping

# Of the headers kept with an event and in the request log.
MOST_HEADERS = 64
MOST_HEADER_BYTES = 8 * 1024
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "x-gitlab-token"})

_KEY_PREFIX = "wh_"
_SHORTEST_SHOWN = 24  # of a shorter key the ends would be most of it


def new_key() -> str:
    """Return a key for a webhook."""
    return _KEY_PREFIX + secrets.token_hex(16)


def shortened(key: str) -> str:
    """Return what may be seen of a key."""
    return f"{key[:7]}...{key[-4:]}" if len(key) >= _SHORTEST_SHOWN else "..."


def kept_headers(
    headers: Mapping[str, str], *, withheld: Collection[str] = (), secret_values: Collection[str] = ()
) -> dict[str, str]:
    """
    Return the headers (names in lower case) that may be kept, in their order.

    ``withheld``: further names that carry a secret. A header that holds one of the secret values goes too.
    """
    hidden = _CREDENTIALS.union(name.lower() for name in withheld)
    kept: dict[str, str] = {}
    size = 0
    for name, value in headers.items():
        if name in hidden or any(secret in value for secret in secret_values):
            continue
        size_with_it = size + len(name.encode()) + len(value.encode())
        if len(kept) == MOST_HEADERS or size_with_it > MOST_HEADER_BYTES:
            continue
        kept[name] = value
        size = size_with_it
    return kept
