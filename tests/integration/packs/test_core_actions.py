"""The core pack's programs, started as a worker starts them: real processes, input on stdin, nothing inherited."""

import json
import os
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as effort
from hypothesis import strategies as st

ACTIONS = Path(__file__).parents[3] / "packs" / "core" / "actions"
CLEAN = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


def dotenv(parameters):
    lines = [f"{key}='" + value.replace("'", "'\\''") + "'" for key, value in sorted(parameters.items())]
    return ("\n".join(lines) + "\n").encode()


def shell(name, **parameters):
    return subprocess.run(
        ["/bin/bash", ACTIONS / name],
        input=dotenv(parameters),
        capture_output=True,
        env=CLEAN,
        timeout=60,
        check=False,
    )


# --- Shell actions ----------------------------------------------------------------------------------------------


def test_echo_prints_the_message_and_a_newline():
    ended = shell("echo.sh", message="hello, world")

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"hello, world\n", b"")


@effort(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
@example('it\'s $(touch /tmp/x) `id` "quoted" \\ back\\slash')
@example("'")
@example("''\\''")
@example("ends with a backslash\\")
@example("two\nlines\nmessage='evil'\n")
@example("-n")
@example("\n\n")
def test_echo_takes_every_message_as_data(message):
    ended = shell("echo.sh", message=message, another="x='y'\nmessage='no'", zz="'")

    assert (ended.stdout, ended.stderr) == (f"{message}\n".encode(), b"")


def test_echo_takes_a_megabyte():
    ended = shell("echo.sh", message="it's " * 40_000 + "x" * 800_000)

    assert ended.stdout == b"it's " * 40_000 + b"x" * 800_000 + b"\n"


def test_echo_uses_no_program_but_bash():
    ended = subprocess.run(
        ["/bin/bash", ACTIONS / "echo.sh"], input=dotenv({"message": "x"}), capture_output=True,
        env={"PATH": "/nowhere"}, timeout=60, check=False,
    )  # fmt: skip

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"x\n", b"")


@pytest.mark.parametrize(
    ("parameters", "code", "stdout"),
    [
        ({"exit_code": "0"}, 0, b"No operation completed successfully\n"),
        ({"exit_code": "0", "message": ""}, 0, b"No operation completed successfully\n"),
        ({"exit_code": "255", "message": "m"}, 255, b"[NOOP] m\nNo operation completed successfully\n"),
        ({"exit_code": "08"}, 8, b"No operation completed successfully\n"),
        ({"exit_code": "256", "message": "m"}, 1, b"[NOOP] m\n"),
        ({"exit_code": "-1"}, 1, b""),
        ({"exit_code": "a[$(id)]"}, 1, b""),
        ({"exit_code": "99999999999999999999"}, 1, b""),
    ],
)
def test_noop_ends_as_it_is_told(parameters, code, stdout):
    ended = shell("noop.sh", **parameters)

    assert (ended.returncode, ended.stdout, bool(ended.stderr)) == (code, stdout, stdout in (b"", b"[NOOP] m\n"))


@pytest.mark.parametrize(
    ("parameters", "code", "stdout"),
    [
        ({"seconds": "0", "message": "first"}, 0, b"first\nSlept for 0 seconds\n"),
        ({"seconds": "0.05"}, 0, b"Slept for 0.05 seconds\n"),
        ({"seconds": "3601"}, 1, b""),
        ({"seconds": "-1"}, 1, b""),
        ({"seconds": "1d; id"}, 1, b""),
    ],
)
def test_sleep_says_how_long(parameters, code, stdout):
    ended = shell("sleep.sh", **parameters)

    assert (ended.returncode, ended.stdout) == (code, stdout)


# --- HTTP -------------------------------------------------------------------------------------------------------


class Answers(BaseHTTPRequestHandler):
    """A server with one path per kind of answer; /echo tells what it was sent."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments):
        return

    def answer(self):
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        seen = {
            "method": self.command, "query": query, "body": self.rfile.read(length).decode(),
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }  # fmt: skip
        self.server.seen.append(self.path)
        match path.split("/")[1:]:
            case ["echo"]:
                self.send(200, json.dumps(seen).encode(), "application/json")
            case ["status", code]:
                self.send(int(code), b"plain", "text/plain")
            case ["to", code]:
                self.send(int(code), b"", "text/plain", Location=query)
            case ["loop"]:
                self.send(302, b"", "text/plain", Location="/loop")
            case ["latin"]:
                self.send(200, "caf\xe9".encode("latin-1"), "text/plain; charset=ISO-8859-1")
            case ["bytes"]:
                self.send(200, b"\xff\x00ok", "application/octet-stream")
            case ["nan"]:
                self.send(200, b"[NaN]", "application/json")
            case ["large"]:
                self.send(200, b"x" * (11 * 2**20), "text/plain")
            case ["twice"]:
                self.send(200, b"", "text/plain", **{"X-A": "1", "x-a": "2"})
            case ["silent"]:
                self.server.silence.wait(30)
                self.close_connection = True
            case ["drip"]:
                self.send_response(200)
                self.flush_headers()
                while not self.server.silence.wait(0.1):
                    try:
                        self.wfile.write(b"X-Drip: 1\r\n")
                    except OSError:
                        break
                self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def send(self, code, body, kind, **headers):
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True


def serve(certificate=None):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    server.seen, server.silence = [], threading.Event()
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


@pytest.fixture
def web():
    server = serve()
    yield server
    server.silence.set()
    server.shutdown()
    server.server_close()


def http(url, *, env=None, **parameters):
    ended = subprocess.run(
        [sys.executable, "-u", ACTIONS / "http_request.py"], input=json.dumps({"url": url, **parameters}).encode(),
        capture_output=True, env={**CLEAN, **(env or {})}, timeout=60, check=False,
    )  # fmt: skip
    assert ended.stderr == b""
    lines = ended.stdout.decode().splitlines()
    assert len(lines) == 1
    answer = json.loads(lines[0])
    assert ended.returncode == (0 if answer["status_code"] else 1)
    assert set(answer) - {"error"} == {"status_code", "headers", "body", "json", "elapsed_ms", "url", "success"}
    return answer


def base(server, scheme="http"):
    return f"{scheme}://127.0.0.1:{server.server_port}"


def test_what_is_sent_arrives(web):
    answer = http(
        f"{base(web)}/echo?a=1", method="post", query_params={"b": "x y", "c": [1, 2]},
        json_body={"n": 1, "t": True, "deep": {"list": [None, "é"]}}, headers={"X-Own": "v", "X-Number": 5},
        auth_type="bearer", auth_token="t0ken",
    )  # fmt: skip

    assert (answer["status_code"], answer["success"], answer["url"]) == (
        200, True, f"{base(web)}/echo?a=1&b=x+y&c=1&c=2",
    )  # fmt: skip
    seen = answer["json"]
    assert json.loads(answer["body"]) == seen
    assert (seen["method"], seen["query"]) == ("POST", "a=1&b=x+y&c=1&c=2")
    assert json.loads(seen["body"]) == {"n": 1, "t": True, "deep": {"list": [None, "é"]}}
    headers = seen["headers"]
    assert (headers["content-type"], headers["x-own"], headers["x-number"], headers["authorization"]) == (
        "application/json", "v", "5", "Bearer t0ken",
    )  # fmt: skip
    assert headers["host"] == f"127.0.0.1:{web.server_port}"
    assert answer["headers"]["Content-Type"] == "application/json"
    assert answer["elapsed_ms"] >= 0


def test_body_and_basic_authentication(web):
    seen = http(
        f"{base(web)}/echo", method="PUT", body="text é", auth_type="basic", auth_username="u", auth_password="p:w"
    )["json"]

    assert (seen["body"], seen["headers"]["authorization"]) == ("text é", "Basic dTpwOnc=")
    assert http(f"http://me:secret%21@127.0.0.1:{web.server_port}/echo")["json"]["headers"]["authorization"] == (
        "Basic bWU6c2VjcmV0IQ=="
    )


@pytest.mark.parametrize(("code", "success"), [(204, True), (404, False), (500, False)])
def test_every_answer_is_a_success_of_the_program(web, code, success):
    answer = http(f"{base(web)}/status/{code}")

    assert (answer["status_code"], answer["success"], "error" in answer) == (code, success, False)


@pytest.mark.parametrize(
    ("path", "body", "parsed"),
    [("latin", "café", None), ("bytes", "�\x00ok", None), ("nan", "[NaN]", None)],
)
def test_bodies_of_every_kind(web, path, body, parsed):
    answer = http(f"{base(web)}/{path}")

    assert (answer["body"], answer["json"]) == (body, parsed)


def test_a_body_is_read_up_to_ten_mebibytes(web):
    assert len(http(f"{base(web)}/large")["body"]) == 10 * 2**20


def test_a_header_that_comes_twice_keeps_both(web):
    assert {value for name, value in http(f"{base(web)}/twice")["headers"].items() if name.lower() == "x-a"} == {
        "1",
        "2",
    }


@pytest.mark.parametrize(
    ("code", "method", "arrives"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"), (308, "PUT", "PUT")],
)
def test_redirects_are_followed(web, code, method, arrives):
    answer = http(f"{base(web)}/to/{code}?/echo", method=method, body="x", auth_type="bearer", auth_token="t")

    assert (answer["json"]["method"], answer["json"]["body"]) == (arrives, "x" if arrives == method else "")
    assert (answer["url"], answer["json"]["headers"]["authorization"]) == (f"{base(web)}/echo", "Bearer t")


def test_redirects_can_be_left_and_have_an_end(web):
    left = http(f"{base(web)}/to/302?/echo", follow_redirects=False)
    assert (left["status_code"], left["success"], left["headers"]["Location"]) == (302, False, "/echo")

    endless = http(f"{base(web)}/loop", max_redirects=3)
    assert (endless["status_code"], endless["error"], len(web.seen)) == (302, "more than 3 redirects", 5)


def test_credentials_do_not_follow_to_another_host(web):
    other = serve()
    try:
        answer = http(
            f"{base(web)}/to/307?{base(other)}/echo",
            auth_type="bearer",
            auth_token="t",
            headers={"Cookie": "c", "X-A": "1"},
        )
    finally:
        other.shutdown()
        other.server_close()

    headers = answer["json"]["headers"]
    assert ("authorization" in headers, "cookie" in headers, headers["x-a"]) == (False, False, "1")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://[fe80::1]/",
        "http://[febf::1%25lo]/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[::169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::1]/",
        "https://user@169.254.169.254:8443/",
    ],
)
def test_metadata_and_link_local_addresses_are_refused_in_every_spelling(url):
    answer = http(url, timeout=5)

    assert (answer["status_code"], answer["success"], answer["url"]) == (0, False, url)
    assert "is blocked" in answer["error"] or "cannot be resolved" in answer["error"]


def test_a_redirect_to_a_blocked_address_is_refused(web):
    answer = http(f"{base(web)}/to/302?http://169.254.169.254/", timeout=5)

    assert (answer["status_code"], answer["error"]) == (0, "the address of 169.254.169.254 is blocked")


def test_the_operator_replaces_the_list(web):
    refused = http(f"{base(web)}/echo", env={"ATTUNE_HTTP_BLOCKED_NETWORKS": "10.0.0.0/8, 127.0.0.0/8"})

    assert refused["error"] == "the address of 127.0.0.1 is blocked"
    allowed = http(f"{base(web)}/echo", env={"ATTUNE_HTTP_BLOCKED_NETWORKS": ""})
    assert allowed["status_code"] == 200


@pytest.mark.parametrize("path", ["silent", "drip"])
def test_the_time_limit_is_for_everything_together(web, path):
    answer = http(f"{base(web)}/{path}", timeout=0.6)

    assert (answer["status_code"], answer["error"]) == (0, "no answer within the time limit")
    assert 500 <= answer["elapsed_ms"] < 15_000


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"url": ""}, "url must begin with http:// or https://"),
        ({"url": "file:///etc/passwd"}, "url must begin with http:// or https://"),
        ({"url": "http://"}, "url names no host"),
        ({"url": "http://host.invalid/"}, "the host host.invalid cannot be resolved"),
        ({"url": "http://127.0.0.1:1/"}, "[Errno 111] Connection refused"),
        ({"url": "http://127.0.0.1/", "method": "GET /x"}, "'GET /X' is not an HTTP method"),
        ({"url": "http://127.0.0.1/", "timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"url": "http://127.0.0.1/", "auth_type": "digest"}, "auth_type must be none, basic or bearer"),
    ],
)
def test_no_answer_at_all_is_an_error(parameters, error):
    answer = http(**parameters)

    assert (answer["status_code"], answer["success"], answer["error"]) == (0, False, error)


def test_headers_cannot_be_split(web):
    answer = http(f"{base(web)}/echo", headers={"X-A": "1\r\nX-Evil: 2"})

    assert (answer["status_code"], web.seen) == (0, [])


def test_certificates_are_checked_unless_told_otherwise(tmp_path):
    certificate = tmp_path / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    certificate.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "cert.pem").read_text())
    server = serve(certificate)
    try:
        refused = http(f"{base(server, 'https')}/echo")
        taken = http(f"{base(server, 'https')}/echo", verify_ssl=False)
    finally:
        server.shutdown()
        server.server_close()

    assert (refused["status_code"], "certificate verify failed" in refused["error"]) == (0, True)
    assert (taken["status_code"], taken["json"]["headers"]["host"]) == (200, f"127.0.0.1:{server.server_port}")
