"""Positions in a log, and finding text in it: whatever its size, and whatever bytes it holds."""

import io
import os
import time

import pytest

from apps.executions import log_search
from apps.executions.log_search import search_log
from apps.executions.logs import Log


def log_of(content, stream="stdout"):
    file = content if hasattr(content, "read") else io.BytesIO(content)
    size = file.seek(0, io.SEEK_END)
    return Log(
        execution_id=1,
        stream=stream,
        file=file,
        size_bytes=size,
        complete=True,
        truncated=False,
        dropped_bytes=0,
        epoch=1,
    )


@pytest.mark.parametrize(
    ("content", "lines", "tail"),
    [
        (b"one\ntwo\nthree\n", 1, b"three\n"),
        (b"one\ntwo\nthree\n", 2, b"two\nthree\n"),
        (b"one\ntwo\nthree\n", 3, b"one\ntwo\nthree\n"),
        (b"one\ntwo\nthree\n", 99, b"one\ntwo\nthree\n"),
        (b"one\ntwo\nthree", 1, b"three"),
        (b"one\ntwo\nthree", 2, b"two\nthree"),
        (b"\n\n\n", 2, b"\n\n"),
        (b"no newline", 5, b"no newline"),
        (b"", 5, b""),
    ],
)
def test_tail(content, lines, tail):
    log = log_of(content)

    assert content[log.tail_start(lines) :] == tail


@pytest.mark.parametrize("block", [1, 2, 3, 5, 8])
def test_tail_across_blocks(monkeypatch, block):
    monkeypatch.setattr("apps.executions.logs._COUNT_BLOCK_BYTES", block)
    content = b"a\nbb\n\nccc\ndddd"

    tails = [content[log_of(content).tail_start(lines) :] for lines in range(1, 7)]

    assert tails == [b"dddd", b"ccc\ndddd", b"\nccc\ndddd", b"bb\n\nccc\ndddd", content, content]


def test_tail_of_a_gigabyte_reads_its_end_only(tmp_path):
    path = tmp_path / "log"
    with open(path, "wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"".join(b"line %d\n" % number for number in range(1000)))
    with open(path, "rb") as file:
        log = log_of(file)
        started = time.thread_time()
        start = log.tail_start(3)
        seconds = time.thread_time() - started

        assert b"".join(log.read(start, log.size_bytes)) == b"line 997\nline 998\nline 999\n"
    assert seconds < 0.5


TEXT = "aé€😀z".encode()  # 1, 2, 3, 4, 1 bytes: characters begin at 0, 1, 3, 6, 10


@pytest.mark.parametrize(
    ("offset", "before", "after"),
    [(0, 0, 0), (1, 1, 1), (2, 1, 3), (3, 3, 3), (4, 3, 6), (5, 3, 6), (6, 6, 6), (7, 6, 10), (8, 6, 10), (9, 6, 10),
     (10, 10, 10), (11, 11, 11), (99, 99, 99)],
)  # fmt: skip
def test_character_boundaries(offset, before, after):
    log = log_of(TEXT)

    assert (log.boundary_before(offset), log.boundary_after(offset)) == (before, after)


@pytest.mark.parametrize(
    "garbage", [b"\x80\x80\x80\x80\x80\x80", b"\xff\xfe\xff\xfe\xff\xfe", b"\xc3\xc3\xc3\xc3\xc3\xc3"]
)
def test_bytes_that_are_no_text_have_a_boundary_everywhere(garbage):
    log = log_of(garbage)

    assert [log.boundary_before(offset) for offset in range(1, 6)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("content", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"\n\n", 2)])
def test_count_lines(content, lines):
    assert log_of(content).count_lines() == lines


def found(content, needle, **options):
    matches, truncated = search_log(log_of(content), needle, **{"limit": 100, **options})
    return [(match.line, match.offset, match.text) for match in matches], truncated


def test_search_names_line_and_offset():
    assert found(b"one\nTwo two\nthree\ntwo", "TWO") == ([(2, 4, "Two two"), (4, 18, "two")], False)


def test_search_stops_at_the_limit_and_goes_on_after_an_offset():
    content = b"x1\nx2\nx3\n"

    assert found(content, "x", limit=2) == ([(1, 0, "x1"), (2, 3, "x2")], True)
    assert found(content, "x", limit=2, after_offset=3) == ([(3, 6, "x3")], False)
    assert found(content, "x", limit=3) == ([(1, 0, "x1"), (2, 3, "x2"), (3, 6, "x3")], False)


def test_search_folds_the_case_of_other_letters():
    assert found("grüße\nGRÜ\n".encode(), "GRÜ") == ([(1, 0, "grüße"), (2, 8, "GRÜ")], False)


def test_search_takes_no_patterns():
    assert found(b"abc\na.c\n", "a.c") == ([(2, 4, "a.c")], False)


@pytest.mark.parametrize("chunk", [6, 7, 16, 64])
def test_search_across_chunks(monkeypatch, chunk):
    monkeypatch.setattr(log_search, "_CHUNK_BYTES", chunk)
    monkeypatch.setattr("apps.executions.storage.BLOCK_BYTES", chunk)
    content = b"first\n" + b"." * 50 + b"needle" + b"." * 50 + b"needle\nlast needle\n\nneedle"

    matches, _truncated = search_log(log_of(content), "NEEDLE", limit=100)

    assert [(match.line, match.offset) for match in matches] == [(2, 6), (3, 119), (5, 132)]


def test_search_shows_the_surroundings_of_a_match_in_a_long_line():
    matches, _truncated = search_log(log_of(b"." * 50_000 + b"needle" + b"." * 50_000), "needle", limit=5)

    assert len(matches[0].text) == 1000
    assert "needle" in matches[0].text
