"""How to say where a server listens."""

import ipaddress


def local_url(host: str, port: int) -> str:
    """Return a URL that works on this machine for a server that listens on that host (a name or an address)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://127.0.0.1:{port}"
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"
