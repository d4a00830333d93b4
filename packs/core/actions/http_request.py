"""
core.http_request: send one HTTP request, print one JSON object.

Standard library only. The name is resolved once per hop, every address it has is checked against the blocked networks,
and the connection goes to the address that was checked: a name cannot change its mind in between.
"""

import base64
import codecs
import http.client
import ipaddress
import json
import os
import re
import signal
import socket
import ssl
import sys
import time
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit, urlunsplit

MAX_BODY_BYTES = 10 * 1024 * 1024
BLOCKED = "169.254.0.0/16,fe80::/10,fd00:ec2::254/128"  # link-local and cloud metadata
NAT64 = ipaddress.ip_network("64:ff9b::/96")
REDIRECTS = (301, 302, 303, 307, 308)
CHARSETS = re.compile(r"(utf-(8|16|32).*|ascii|iso8859-\d+|cp\d+|koi8-\w|gb\w+|big5\w*|euc_\w+|shift_jis\w*)")
# Not for another host: whoever redirects elsewhere must not learn them.
CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})


class Refused(Exception):
    """The request cannot be sent; the message is the result's error."""


def main():
    parameters = json.loads(sys.stdin.read() or "{}")
    started = time.monotonic()
    answer = {"status_code": 0, "headers": {}, "body": "", "json": None}
    url = str(parameters.get("url") or "")
    try:
        url = with_query(url, parameters.get("query_params") or {})
        start_clock(parameters.get("timeout"))
        answer, url = exchange(Request(url, parameters), parameters)
    except TimeoutError:
        answer["error"] = "no answer within the time limit"
    except (Refused, OSError, ValueError, http.client.HTTPException) as error:
        answer["error"] = str(error) or type(error).__name__
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    answer["elapsed_ms"] = round((time.monotonic() - started) * 1000)
    answer["url"] = url
    answer["success"] = 200 <= answer["status_code"] < 300
    text = json.dumps(answer, ensure_ascii=False)
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
    sys.stdout.buffer.flush()
    return 0 if answer["status_code"] else 1


def start_clock(seconds):
    """Raise TimeoutError in the main thread when the time is over, however slowly something drips in."""
    seconds = 30 if seconds is None else float(seconds)
    if not 0 < seconds <= 86400:
        raise Refused("timeout must be a number of seconds above 0")

    def expire(_signal, _frame):
        raise TimeoutError

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)


class Request:
    """What is sent next; a redirect changes it."""

    def __init__(self, url, parameters):
        self.url = url
        self.method = str(parameters.get("method") or "GET").upper()
        if not re.fullmatch(r"[A-Z]+", self.method):
            raise Refused(f"'{self.method}' is not an HTTP method")
        self.headers = {str(name): text(value) for name, value in (parameters.get("headers") or {}).items()}
        self.body = self._body(parameters)
        self._authorize(parameters)
        self.set_default("User-Agent", "attune")
        self.set_default("Accept", "*/*")
        self.set_default("Accept-Encoding", "identity")

    def has(self, name):
        return any(known.lower() == name.lower() for known in self.headers)

    def set_default(self, name, value):
        if not self.has(name):
            self.headers[name] = value

    def drop(self, names):
        self.headers = {name: value for name, value in self.headers.items() if name.lower() not in names}

    def _body(self, parameters):
        if parameters.get("json_body") not in (None, ""):
            self.set_default("Content-Type", "application/json")
            return json.dumps(parameters["json_body"]).encode()
        body = parameters.get("body")
        return None if body is None else text(body).encode()

    def _authorize(self, parameters):
        kind = parameters.get("auth_type") or "none"
        if kind == "basic":
            user, password = text(parameters.get("auth_username")), text(parameters.get("auth_password"))
            self._basic(user, password)
        elif kind == "bearer":
            self.set_default("Authorization", f"Bearer {text(parameters.get('auth_token'))}")
        elif kind != "none":
            raise Refused("auth_type must be none, basic or bearer")
        else:
            parts = urlsplit(self.url)
            if parts.username:
                self._basic(unquote(parts.username), unquote(parts.password or ""))

    def _basic(self, user, password):
        self.set_default("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())

    def redirect(self, status, location):
        """Go on at the new address as browsers and curl do."""
        target = urljoin(self.url, quote(location, safe="%/:=&?~#+!$,;'@()*[]"))
        if origin(target) != origin(self.url):
            self.drop(CREDENTIALS)
        if (status == 303 and self.method != "HEAD") or (status in (301, 302) and self.method == "POST"):
            self.method, self.body = "GET", None
            self.drop({"content-type", "content-length", "transfer-encoding"})
        self.url = target


def exchange(request, parameters):
    """Send the request, follow redirects; return (answer, final URL)."""
    follow = parameters.get("follow_redirects") is not False
    left = 10 if parameters.get("max_redirects") is None else int(parameters["max_redirects"])
    context = tls_context(parameters.get("verify_ssl") is not False)
    while True:
        answer, location = send(request, context)
        if not follow or answer["status_code"] not in REDIRECTS or not location:
            return answer, request.url
        if left <= 0:
            answer["error"] = f"more than {parameters.get('max_redirects', 10)} redirects"
            return answer, request.url
        left -= 1
        request.redirect(answer["status_code"], location)


def send(request, context):
    """Return (answer, the Location header) of one hop."""
    scheme, host, port = origin(request.url)
    connection = PinnedConnection(host, port, checked_addresses(host, port), context if scheme == "https" else None)
    parts = urlsplit(request.url)
    path = quote(urlunsplit(("", "", parts.path or "/", parts.query, "")), safe="%/:=&?~#+!$,;'@()*[]")
    try:
        connection.request(request.method, path, body=request.body, headers=request.headers)
        response = connection.getresponse()
        data = response.read(MAX_BODY_BYTES)
        headers = {}
        for name, value in response.getheaders():
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        body = decoded(data, response.headers.get_content_charset())
        answer = {"status_code": response.status, "headers": headers, "body": body, "json": parsed(body)}
        return answer, response.getheader("Location")
    finally:
        connection.close()


class PinnedConnection(http.client.HTTPConnection):
    """A connection to one of the addresses that were checked, whatever the name resolves to by now."""

    def __init__(self, host, port, addresses, context):
        super().__init__(host, port)
        self.default_port = 443 if context else 80
        self._addresses = addresses
        self._context = context

    def connect(self):
        self.sock = self._connected()
        if self._context:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)

    def _connected(self):
        failure = None
        for family, address in self._addresses:
            connected = socket.socket(family, socket.SOCK_STREAM)
            try:
                connected.connect(address)
                return connected
            except TimeoutError:
                connected.close()
                raise
            except OSError as error:
                connected.close()
                failure = error
        raise failure


def origin(url):
    """Return (scheme, host, port). Raises Refused for what is no http(s) address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise Refused("url must begin with http:// or https://")
    if not parts.hostname:
        raise Refused("url names no host")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def checked_addresses(host, port):
    """Resolve a host and return its addresses. Raises Refused when one of them lies in a blocked network."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise Refused(f"the host {host} cannot be resolved") from None
    networks = [ipaddress.ip_network(network, strict=False) for network in blocked_networks()]
    for _family, _type, _protocol, _name, address in found:
        for candidate in spellings(ipaddress.ip_address(address[0].partition("%")[0])):
            if any(candidate.version == network.version and candidate in network for network in networks):
                raise Refused(f"the address of {host} is blocked")
    return [(family, address) for family, _type, _protocol, _name, address in found]


def blocked_networks():
    configured = os.environ.get("ATTUNE_HTTP_BLOCKED_NETWORKS")
    names = BLOCKED if configured is None else configured
    return [name.strip() for name in names.split(",") if name.strip()]


def spellings(address):
    """Yield the address and the IPv4 addresses that an IPv6 one stands for."""
    yield address
    if address.version == 6:
        for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
            if inner is not None:
                yield inner
        if address in NAT64 or int(address) >> 32 == 0:
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def tls_context(verify):
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def with_query(url, query_params):
    """Return the URL with the parameters added; a list gives one per entry."""
    if not query_params:
        return url
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in query_params.items():
        pairs.extend((name, text(entry)) for entry in (value if isinstance(value, list) else [value]))
    return urlunsplit(parts._replace(query=urlencode(pairs)))


def text(value):
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def decoded(data, charset):
    """Return the text; a charset that is no plain character set (punycode, rot13, ...) counts as UTF-8."""
    try:
        name = codecs.lookup(charset or "utf-8").name
    except LookupError:
        name = "utf-8"
    return data.decode(name if CHARSETS.fullmatch(name) else "utf-8", "replace")


def parsed(body):
    def refuse(constant):
        raise ValueError(constant)

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None


if __name__ == "__main__":
    sys.exit(main())
