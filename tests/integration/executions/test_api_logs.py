"""Logs over HTTP (api.md 13.6)."""

import gzip
import os
import tracemalloc

import pytest

from apps.executions import logs
from apps.executions.states import Status
from tests.clients import signed_in
from tests.factories import make_execution

pytestmark = pytest.mark.django_db


@pytest.fixture
def client():
    return signed_in()


@pytest.fixture(autouse=True)
def artifacts(settings, tmp_path):
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    settings.ARTIFACTS_DIR.mkdir()
    return settings.ARTIFACTS_DIR


def make_logged(stdout=b"", stderr=b"", *, status=Status.COMPLETED, **result):
    """An execution with logs on disk, and the result keys that go with them."""
    execution = make_execution(status=status)
    for stream, content in (("stdout", stdout), ("stderr", stderr)):
        if content:
            path = logs.log_path(execution.pk, stream)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            result[f"{stream}_log"] = str(path)
    if execution.is_finished:
        execution.set(result=result)
    return execution


def read(client, execution, query="", stream="stdout", **headers):
    response = client.get(f"/api/v1/executions/{execution.pk}/logs/{stream}{query}", headers=headers)
    response.body = response.getvalue()
    return response


TEXT = b"one\ntwo\nthree\n"


def test_whole(client):
    response = read(client, make_logged(TEXT))

    assert (response.status_code, response.body) == (200, TEXT)
    headers = {name: response.headers[name] for name in response.headers if name.startswith("X-Log")}
    assert headers == {
        "X-Log-Size": "14", "X-Log-Offset": "0", "X-Log-Next-Offset": "14", "X-Log-Complete": "true",
        "X-Log-Truncated": "false", "X-Log-Dropped-Bytes": "0",
    }  # fmt: skip
    assert (response.headers["Content-Type"], response.headers["Content-Length"], response.headers["Accept-Ranges"]) == (
        "text/plain; charset=utf-8", "14", "bytes",
    )  # fmt: skip


def test_whatever_the_accept_header_says(client):
    assert read(client, make_logged(TEXT), Accept="image/png").status_code == 200


def test_bytes_are_unchanged(client):
    content = b"\xff\xfe\x00\r\n\x1b[31m<script>"

    assert read(client, make_logged(content)).body == content


def test_no_output(client):
    response = read(client, make_logged())

    assert (response.status_code, response.body, response.headers["X-Log-Complete"]) == (200, b"", "true")


def test_removed_by_retention(client):
    execution = make_logged(TEXT)
    logs.log_path(execution.pk, "stdout").unlink()

    response = read(client, execution)

    assert (response.status_code, response.json()["code"]) == (410, "GONE")
    overview = client.get(f"/api/v1/executions/{execution.pk}/logs").json()["data"]
    assert (overview["stdout"]["size_bytes"], overview["stdout"]["lines"]) == (0, None)


def test_compressed_logs_read_alike(client):
    execution = make_logged(TEXT)
    before = read(client, execution, "?tail=1")
    path = logs.log_path(execution.pk, "stdout")
    path.with_name("stdout.log.gz").write_bytes(gzip.compress(TEXT))
    path.unlink()

    after = read(client, execution, "?tail=1")

    assert before.body == after.body == b"three\n"
    assert before.headers["ETag"] == after.headers["ETag"]
    assert before.headers["X-Log-Size"] == after.headers["X-Log-Size"]


def test_truncated(client):
    response = read(client, make_logged(TEXT, stdout_truncated=True, stdout_bytes_truncated=99))

    assert (response.headers["X-Log-Truncated"], response.headers["X-Log-Dropped-Bytes"]) == ("true", "99")


def test_running(client):
    execution = make_logged(TEXT, status=Status.RUNNING)

    response = read(client, execution, **{"If-Range": '"x"', "Range": "bytes=0-1"})

    assert (response.status_code, response.headers["X-Log-Complete"]) == (200, "false")
    assert "ETag" not in response.headers
    assert read(client, execution, Range="bytes=0-1").headers["Content-Range"] == "bytes 0-1/14"


@pytest.mark.parametrize(
    ("query", "content", "offset", "next_offset"),
    [
        ("?offset=4", b"two\nthree\n", 4, 14),
        ("?offset=4&limit=3", b"two", 4, 7),
        ("?limit=3", b"one", 0, 3),
        ("?limit=0", b"", 0, 0),
        ("?offset=14", b"", 14, 14),
        (f"?offset={2**62}&limit={2**62}", b"", 14, 14),
        ("?tail=2", b"two\nthree\n", 4, 14),
        ("?tail=100000", TEXT, 0, 14),
        ("?tail_bytes=6", b"three\n", 8, 14),
        ("?tail_bytes=0", b"", 14, 14),
        (f"?tail_bytes={2**62}", TEXT, 0, 14),
    ],
)
def test_parts(client, query, content, offset, next_offset):
    response = read(client, make_logged(TEXT), query, Range="bytes=0-0")

    assert (response.status_code, response.body) == (200, content)
    assert (response.headers["X-Log-Offset"], response.headers["X-Log-Next-Offset"]) == (str(offset), str(next_offset))
    assert response.headers["Content-Length"] == str(len(content))


def test_limit_keeps_characters_whole(client):
    execution = make_logged("aé€".encode())

    pages, offset = [], 0
    while offset < 6:
        response = read(client, execution, f"?offset={offset}&limit=4")
        pages.append(response.body.decode())
        offset = int(response.headers["X-Log-Next-Offset"])

    assert pages == ["aé", "€"]
    assert read(client, execution, "?tail_bytes=2").body == b""
    assert read(client, execution, "?tail_bytes=4").body == "€".encode()


@pytest.mark.parametrize(
    "query",
    ["offset=-1", "limit=-1", "tail=0", "tail=-1", "tail=100001", "tail_bytes=-1", "tail=1&offset=0", "tail_bytes=1&offset=0",
     "tail=1&tail_bytes=1", "offset=x", f"offset={2**70}", "download=perhaps"],
)  # fmt: skip
def test_parameters_that_make_no_sense(client, query):
    response = read(client, make_logged(TEXT), f"?{query}")

    assert (response.status_code, response.json()["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("stream", ["stdin", "stdout.log", "..", "%2e%2e"])
def test_other_streams(client, stream):
    assert read(client, make_logged(TEXT), stream=stream).status_code == 400


@pytest.mark.parametrize(
    ("header", "content", "content_range"),
    [
        ("bytes=4-6", b"two", "bytes 4-6/14"),
        ("bytes=8-", b"three\n", "bytes 8-13/14"),
        ("bytes=-6", b"three\n", "bytes 8-13/14"),
        ("bytes=0-999", TEXT, "bytes 0-13/14"),
    ],
)
def test_range(client, header, content, content_range):
    response = read(client, make_logged(TEXT), Range=header)

    assert (response.status_code, response.body) == (206, content)
    assert (response.headers["Content-Range"], response.headers["Content-Length"]) == (
        content_range,
        str(len(content)),
    )


def test_range_behind_the_end(client):
    response = read(client, make_logged(TEXT), Range="bytes=14-")

    assert (response.status_code, response.headers["Content-Range"], response.json()["status"]) == (
        416,
        "bytes */14",
        416,
    )
    assert read(client, make_logged(), Range="bytes=0-").status_code == 416


def test_several_ranges_are_ignored(client):
    assert read(client, make_logged(TEXT), Range="bytes=0-1,3-4").body == TEXT


def test_conditions(client):
    execution = make_logged(TEXT)
    etag = read(client, execution).headers["ETag"]

    known = read(client, execution, **{"If-None-Match": etag})
    fits = read(client, execution, **{"If-Range": etag, "Range": "bytes=0-1"})
    stale = read(client, execution, **{"If-Range": '"other"', "Range": "bytes=0-1"})

    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", etag)
    assert (fits.status_code, stale.status_code) == (206, 200)


def test_head(client):
    execution = make_logged(TEXT)
    path = f"/api/v1/executions/{execution.pk}/logs/stdout"

    response = client.head(path)
    part = client.head(path, headers={"Range": "bytes=0-3"})

    assert (response.status_code, response.content, response.headers["Content-Length"]) == (200, b"", "14")
    assert (part.status_code, part.headers["Content-Length"], part.headers["X-Log-Next-Offset"]) == (206, "4", "4")


def test_download(client):
    execution = make_logged(stderr=TEXT)

    response = read(client, execution, "?download=true", stream="stderr")

    assert response.headers["Content-Disposition"] == f'attachment; filename="execution-{execution.pk}.stderr.log"'
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_overview(client):
    execution = make_logged(TEXT, b"no newline", stderr_truncated=True, stderr_bytes_truncated=7)

    data = client.get(f"/api/v1/executions/{execution.pk}/logs").json()["data"]

    url = f"/api/v1/executions/{execution.pk}/logs/"
    assert data == {
        "stdout": {"size_bytes": 14, "complete": True, "truncated": False, "dropped_bytes": 0, "lines": 3, "url": f"{url}stdout"},
        "stderr": {"size_bytes": 10, "complete": True, "truncated": True, "dropped_bytes": 7, "lines": 1, "url": f"{url}stderr"},
    }  # fmt: skip


def search(client, execution, **params):
    response = client.get(f"/api/v1/executions/{execution.pk}/logs/search", params)
    assert response.status_code == 200, response.json()
    data = response.json()["data"]
    return [(match["stream"], match["line"], match["offset"], match["text"]) for match in data["matches"]], data[
        "truncated"
    ]


def test_search(client):
    execution = make_logged(b"ok\nError: a\n", b"ERROR: b\n")

    assert search(client, execution, q="error") == (
        [("stdout", 2, 3, "Error: a"), ("stderr", 1, 0, "ERROR: b")], False,
    )  # fmt: skip
    assert search(client, execution, q="error", limit=1) == ([("stdout", 2, 3, "Error: a")], True)
    assert search(client, execution, q="error", stream="stderr") == ([("stderr", 1, 0, "ERROR: b")], False)
    assert search(client, execution, q="error", stream="stdout", after_offset=3) == ([], False)


@pytest.mark.parametrize(
    "query", ["", "q=", "q=x&stream=stdin", "q=x&limit=x", "q=x&after_offset=-1", "q=" + "x" * 1001]
)
def test_search_for_nothing_sensible(client, query):
    execution = make_logged(TEXT)

    assert client.get(f"/api/v1/executions/{execution.pk}/logs/search?{query}").status_code == 400


@pytest.mark.parametrize("part", ["logs", "logs/stdout", "logs/search?q=x"])
def test_logs_of_nothing(client, part):
    assert client.get(f"/api/v1/executions/99999/{part}").status_code == 404


def test_a_log_that_is_a_link_is_not_followed(client, artifacts, tmp_path):
    execution = make_execution(status=Status.RUNNING)
    (tmp_path / "secret").write_text("not yours")
    folder = artifacts / f"execution_{execution.pk}"
    folder.mkdir()
    (folder / "stdout.log").symlink_to(tmp_path / "secret")

    assert read(client, execution).body == b""


def test_a_gigabyte_is_read_with_flat_memory(client):
    execution = make_logged(b"first\n")
    path = logs.log_path(execution.pk, "stdout")
    with open(path, "r+b") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast but one\nlast\n")
    tracemalloc.start()

    tail = read(client, execution, "?tail=2").body
    end = read(client, execution, f"?offset={(1 << 30) + 1}&limit=8").body
    response = client.get(f"/api/v1/executions/{execution.pk}/logs/stdout")
    whole = sum(len(block) for block in response.streaming_content)

    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tail, end, whole) == (b"last but one\nlast\n", b"last but", (1 << 30) + 19)
    assert peak < 8 * 1024 * 1024
