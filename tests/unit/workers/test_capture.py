"""One output stream into its log."""

import time
from pathlib import Path

import pytest

from apps.core.redaction import Redactor
from apps.workers.capture import KEPT_BYTES, Capture

NOTICE = b"\n\n[OUTPUT TRUNCATED: stderr exceeded size limit]\n"


def capture(path: Path, limit: int, *chunks: bytes) -> Capture:
    stream = Capture("stderr", path / "deep" / "stderr.log", limit)
    for chunk in chunks:
        stream.feed(chunk)
    stream.close()
    return stream


def test_file_appears_with_the_first_byte(tmp_path: Path) -> None:
    stream = Capture("stderr", tmp_path / "deep" / "stderr.log", 1000)
    assert list(tmp_path.iterdir()) == []

    stream.feed(b"x")

    assert (tmp_path / "deep" / "stderr.log").read_bytes() == b"x"
    stream.close()


@pytest.mark.parametrize("chunks", [(b"x" * 872,), (b"x" * 500, b"x" * 372)])
def test_output_up_to_the_limit_is_kept_whole(tmp_path: Path, chunks: tuple[bytes, ...]) -> None:
    stream = capture(tmp_path, 1000, *chunks)

    assert (stream.content(), stream.truncated, stream.dropped, stream.size) == (b"x" * 872, False, 0, 872)


@pytest.mark.parametrize("chunks", [(b"x" * 900,), (b"x" * 872, b"x" * 28), (b"x" * 500, b"x" * 390, b"x" * 10)])
def test_output_over_the_limit_is_cut_and_counted(tmp_path: Path, chunks: tuple[bytes, ...]) -> None:
    stream = capture(tmp_path, 1000, *chunks)

    log = (tmp_path / "deep" / "stderr.log").read_bytes()
    assert log == b"x" * 872 + NOTICE == stream.content()
    assert (stream.truncated, stream.dropped, stream.size) == (True, 28, len(log))


@pytest.mark.parametrize("character", ["ä", "€", "😀"])
def test_character_is_not_cut_in_two(tmp_path: Path, character: str) -> None:
    size = len(character.encode())
    stream = capture(tmp_path, 128 + 10 + size - 1, (b"x" * 10) + character.encode() * 3)

    assert stream.content() == b"x" * 10 + NOTICE
    assert stream.dropped == 3 * size


def test_content_and_tail_of_a_large_log_come_from_the_file(tmp_path: Path) -> None:
    chunks = [b"%07d\n" % number for number in range(20_000)]
    stream = capture(tmp_path, 10_000_000, *chunks)

    assert (len(stream.head), stream.in_memory, stream.lines) == (KEPT_BYTES, False, 20_000)
    assert stream.content() == b"".join(chunks)
    assert stream.tail(16) == b"0019998\n0019999\n"


def redacted(path: Path, limit: int = 1000) -> Capture:
    return Capture("stderr", path / "stderr.log", limit, Redactor(["secret"]).stream())


def test_filter_stands_between_program_and_log(tmp_path: Path) -> None:
    stream = redacted(tmp_path)
    stream.feed(b"a secr")
    assert (tmp_path / "stderr.log").read_bytes() == b"a "
    stream.feed(b"et or sec")
    stream.close()

    assert stream.content() == b"a *** or sec"


@pytest.mark.parametrize("room", [8, 7, 3])
def test_secret_cut_by_the_limit_is_not_begun(tmp_path: Path, room: int) -> None:
    stream = redacted(tmp_path, 128 + room)
    stream.feed(b"a secretly kept")
    stream.release()
    stream.close()

    assert stream.content() == b"a ***" + NOTICE
    assert stream.dropped == 15 - room  # of what the program wrote
    assert stream.release_at is None


def test_held_bytes_are_due_a_fifth_of_a_second_after_the_first_of_them(tmp_path: Path) -> None:
    stream = redacted(tmp_path)
    begun = time.monotonic()

    stream.feed(b"se")
    first_due = stream.release_at
    stream.feed(b"c")

    assert first_due is not None
    assert begun + 0.2 <= first_due <= time.monotonic() + 0.2
    assert stream.release_at == first_due
    assert (stream.size, stream.content()) == (0, b"")
    stream.feed(b" se")
    assert stream.release_at > first_due
    stream.close()


def test_released_bytes_are_in_the_log(tmp_path: Path) -> None:
    stream = redacted(tmp_path)
    stream.feed(b"a\nse")

    stream.release()

    assert (stream.content(), stream.release_at) == (b"a\nse", None)
    stream.feed(b"cret\n")
    stream.close()
    assert (stream.content(), stream.lines) == (b"a\nse***\n", 2)


def test_nothing_is_due_when_nothing_is_held(tmp_path: Path) -> None:
    stream = redacted(tmp_path)

    stream.feed(b"a sec")
    stream.feed(b"ond\n")

    assert (stream.content(), stream.release_at) == (b"a second\n", None)
    stream.close()


def test_without_a_log_the_beginning_is_kept() -> None:
    stream = Capture("stdout", None, 10_000_000)
    stream.feed(b"x" * 100_000)
    stream.close()

    assert (len(stream.content()), stream.size) == (KEPT_BYTES, 100_000)
