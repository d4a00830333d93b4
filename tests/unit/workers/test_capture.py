"""One output stream into its log."""

from pathlib import Path

import pytest

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


class Reversing:
    """Holds back the last byte, as a filter does that looks for what spans two chunks."""

    def __init__(self) -> None:
        self.held = b""

    def feed(self, data: bytes) -> bytes:
        data = self.held + data.replace(b"secret", b"***")
        self.held = data[-1:]
        return data[:-1]

    def flush(self) -> bytes:
        held, self.held = self.held, b""
        return held


def test_filter_stands_between_program_and_log(tmp_path: Path) -> None:
    stream = Capture("stderr", tmp_path / "stderr.log", 1000, Reversing())
    stream.feed(b"a secret")
    assert (tmp_path / "stderr.log").read_bytes() == b"a **"
    stream.close()

    assert stream.content() == b"a ***"


def test_filter_is_flushed_before_the_notice(tmp_path: Path) -> None:
    stream = Capture("stderr", tmp_path / "stderr.log", 128 + 8, Reversing())
    stream.feed(b"a secretly kept")
    stream.close()

    assert stream.content() == b"a ***" + NOTICE
    assert stream.dropped == 7  # of what the program wrote


def test_without_a_log_the_beginning_is_kept() -> None:
    stream = Capture("stdout", None, 10_000_000)
    stream.feed(b"x" * 100_000)
    stream.close()

    assert (len(stream.content()), stream.size) == (KEPT_BYTES, 100_000)
