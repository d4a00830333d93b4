"""Django behind ASGI: whole answers, streams, large bodies, clients that leave."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from attune import bridge, server
from attune.bridge import Bridge
from attune.server import HttpServer, listen
from tests.processes import wait_until

Answer = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Whole(list[bytes]):
    streaming = False


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], int]]:
    started: list[HttpServer] = []

    def start(application: Answer) -> int:
        listener = listen("127.0.0.1", 0)
        started.append(HttpServer(listener, Bridge(application, threads=2)))
        started[-1].start()
        return int(listener.getsockname()[1])

    yield start
    for each in started:
        each.stop()


def ask(port: int, method: str = "GET", path: str = "/", body: Any = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def test_whole_answer_and_what_the_application_is_told(serve: Callable[[Answer], int]) -> None:
    told: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        told.update(environ)
        start_response("201 Created", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return Whole([b"o", b"k"])

    port = serve(application)
    answer = ask(port, "POST", "/caf%C3%A9?x=%20", b"{}", **{"X-One": "1", "X_One": "evil", "Content-Type": "a/b"})

    assert answer == (201, b"ok")
    assert told["PATH_INFO"].encode("latin-1").decode() == "/café"
    assert (told["QUERY_STRING"], told["HTTP_X_ONE"], told["CONTENT_TYPE"]) == ("x=%20", "1", "a/b")
    assert (told["REQUEST_METHOD"], told["REMOTE_ADDR"], told["CONTENT_LENGTH"]) == ("POST", "127.0.0.1", "2")


def test_stream_comes_piece_by_piece(serve: Callable[[Answer], int]) -> None:
    go_on = threading.Event()

    def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])

        def pieces() -> Iterator[bytes]:
            yield b"first "
            assert go_on.wait(60)
            yield b"second"

        return pieces()

    connection = http.client.HTTPConnection("127.0.0.1", serve(application), timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.read(6) == b"first "
    go_on.set()
    assert answer.read() == b"second"
    connection.close()


def test_large_body_is_read_by_the_application_not_before(serve: Callable[[Answer], int]) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = 0
        while piece := environ["wsgi.input"].read(65536):
            length += len(piece)
        start_response("200 OK", [])
        return Whole([str(length).encode()])

    assert ask(serve(application), "POST", "/", b"x" * 5_000_000) == (200, b"5000000")


@pytest.mark.parametrize(("size", "told_length"), [(5, "5"), (1_000_000, str(bridge.UNKNOWN_LENGTH))])
def test_body_in_chunks_arrives_whole(serve: Callable[[Answer], int], size: int, told_length: str) -> None:
    told: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        told.update(environ)
        start_response("200 OK", [])
        return Whole([str(len(environ["wsgi.input"].read())).encode()])

    pieces = iter([b"x" * (size // 5)] * 5)  # without a length http.client sends chunks

    assert ask(serve(application), "POST", "/", pieces) == (200, str(size).encode())
    assert told["CONTENT_LENGTH"] == told_length


def test_repeated_header_becomes_one_list(serve: Callable[[Answer], int]) -> None:
    told: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        told.update(environ)
        start_response("200 OK", [])
        return Whole([])

    with socket.create_connection(("127.0.0.1", serve(application))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-One: a\r\nx-one: b\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")

    assert told["HTTP_X_ONE"] == "a, b"


def test_client_that_leaves_ends_the_stream(serve: Callable[[Answer], int]) -> None:
    ended = threading.Event()

    def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])

        def without_end() -> Iterator[bytes]:
            try:
                while True:
                    yield b"x" * 65536
            finally:
                ended.set()

        return without_end()

    port = serve(application)
    for _ in range(3):  # more than there are threads
        ended.clear()
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000)
        client.close()
        wait_until(ended.is_set, what="the end of the stream")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "PATIENCE_SECONDS", 0.5)


def reads_and_tells(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    try:
        while environ["wsgi.input"].read(65536):
            continue
        start_response("200 OK", [])
    except OSError:
        start_response("400 Bad Request", [])
    return Whole([b""])


@pytest.mark.usefixtures("impatient")
def test_bodies_that_never_end_do_not_keep_the_threads(serve: Callable[[Answer], int]) -> None:
    port = serve(reads_and_tells)
    stalled = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]  # one more than threads
    for client in stalled:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 300_000)

    assert ask(port, "POST", "/", b"x")[0] == 200
    for client in stalled:
        assert client.recv(100).startswith(b"HTTP/1.1 400")
        client.close()


def test_body_that_breaks_off_is_not_taken_for_a_whole_one(serve: Callable[[Answer], int]) -> None:
    outcome: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def note(status: str, headers: Any) -> Any:
            outcome.append(status)
            return start_response(status, headers)

        return reads_and_tells(environ, note)

    client = socket.create_connection(("127.0.0.1", serve(application)))
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 300_000)
    client.close()

    assert wait_until(lambda: outcome) == ["400 Bad Request"]


@pytest.mark.usefixtures("impatient")
def test_clients_that_do_not_read_do_not_keep_the_threads(serve: Callable[[Answer], int]) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return Whole([b"ok"]) if environ["PATH_INFO"] == "/small" else (b"x" * 65536 for _ in range(1000))

    port = serve(application)
    deaf = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
    for client in deaf:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert ask(port, path="/small") == (200, b"ok")
    for client in deaf:
        client.close()


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nX-"])
def test_connections_without_a_request_are_closed(
    serve: Callable[[Answer], int], monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.3, raising=False)
    port = serve(reads_and_tells)
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.sendall(beginning)

    assert client.recv(1) == b""
    client.close()
    assert ask(port, "POST", "/", b"x")[0] == 200


def test_error_on_the_way_breaks_the_transfer(
    serve: Callable[[Answer], int], caplog: pytest.LogCaptureFixture
) -> None:
    def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])

        def fails() -> Iterator[bytes]:
            yield b"begun"
            raise ValueError("in the middle")

        return fails()

    connection = http.client.HTTPConnection("127.0.0.1", serve(application), timeout=10)
    connection.request("GET", "/")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()
    assert "in the middle" in caplog.text
