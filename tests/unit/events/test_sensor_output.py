"""What sensors print, kept within bounds."""

import os

import pytest

from apps.events.sensors.output import (
    BURST_BYTES,
    BYTES_PER_SECOND,
    EXCERPT_BYTES,
    Excerpt,
    Keeping,
    LogFiles,
    RotatingLog,
    Throttle,
    excerpt_of,
)

FILES = LogFiles(folder="sensor_7", stream="stdout", worker_id=3)


@pytest.fixture
def folder(settings, tmp_path):
    settings.ARTIFACTS_DIR = tmp_path
    return tmp_path / "sensor_7"


def log(*, file_bytes=10, files=3, new_file_seconds=None, on_new_file=lambda: None):
    return RotatingLog(
        FILES, Keeping(file_bytes=file_bytes, files=files, new_file_seconds=new_file_seconds), on_new_file
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_nothing_printed_leaves_no_file(folder):
    log().close()

    assert not folder.exists()


def test_full_files_are_followed_by_others_and_the_oldest_go(folder):
    news = []
    sink = log(on_new_file=lambda: news.append(1))

    sink.feed(b"0123456789abcdefghijABCDEFGHIJ-----xyz")
    sink.close()

    assert contents(folder) == {
        "stdout-3-000002.log": b"abcdefghij",
        "stdout-3-000003.log": b"ABCDEFGHIJ",
        "stdout-3-000004.log": b"-----xyz",
    }
    assert len(news) == 4


def test_next_start_goes_on_in_the_newest_file(folder):
    for text in (b"one", b"two", b"and more"):
        sink = log()
        sink.feed(text)
        sink.close()

    assert contents(folder) == {"stdout-3-000001.log": b"onetwoand ", "stdout-3-000002.log": b"more"}


def test_old_file_is_not_written_on(folder):
    first = log(new_file_seconds=60)
    first.feed(b"yesterday")
    first.close()
    os.utime(folder / "stdout-3-000001.log", (0, 0))

    second = log(new_file_seconds=60)
    second.feed(b"today")
    second.close()

    assert contents(folder) == {"stdout-3-000001.log": b"yesterday", "stdout-3-000002.log": b"today"}


def test_files_of_others_are_left_alone(folder):
    folder.mkdir()
    (folder / "stdout-4-000001.log").write_bytes(b"another worker's")
    (folder / "stderr-3-000001.log").write_bytes(b"the other stream")
    sink = log(files=1)

    sink.feed(b"x" * 25)
    sink.close()

    assert sorted(contents(folder)) == ["stderr-3-000001.log", "stdout-3-000003.log", "stdout-4-000001.log"]


@pytest.mark.parametrize("trap", ["fifo", "link", "directory"])
def test_names_that_a_program_has_taken_are_passed_over(folder, trap):
    folder.mkdir()
    name = folder / "stdout-3-000001.log"
    match trap:
        case "fifo":
            os.mkfifo(name)
        case "link":
            name.symlink_to("/etc/passwd")
        case "directory":
            name.mkdir()
    sink = log()

    sink.feed(b"safe")
    sink.close()

    assert (folder / "stdout-3-000002.log").read_bytes() == b"safe"


def test_garbage_is_kept_as_it_is(folder):
    sink = log(file_bytes=1000)

    sink.feed(b"\0\xff\xfe no newline \x80")
    sink.close()

    assert contents(folder) == {"stdout-3-000001.log": b"\0\xff\xfe no newline \x80"}


def test_disk_that_takes_no_more_does_not_end_the_reading(settings, tmp_path):
    (tmp_path / "file").write_text("in the way")
    settings.ARTIFACTS_DIR = tmp_path / "file"

    sink = log()
    sink.feed(b"lost")
    sink.feed(b"lost too")
    sink.close()


class Clock:
    def __init__(self):
        self.now = 0.0
        self.slept = 0.0

    def sleep(self, seconds):
        self.slept += seconds
        self.now += seconds


def test_throttle_lets_bursts_pass_and_slows_down_what_never_ends():
    clock = Clock()
    throttle = Throttle(clock.sleep, lambda: clock.now)

    throttle.take(BURST_BYTES)
    assert clock.slept == 0

    for _ in range(10 * BYTES_PER_SECOND // 65536):
        throttle.take(65536)
    assert clock.slept == pytest.approx(10, rel=0.05)


def test_throttle_charges_small_pieces_too():
    clock = Clock()
    throttle = Throttle(clock.sleep, lambda: clock.now)

    for _ in range(10_000):
        throttle.take(1)

    assert clock.slept > 10


def test_excerpt_holds_the_last_lines():
    excerpt = Excerpt()
    for number in range(200):
        excerpt.feed(f"line {number}\n".encode())

    lines = excerpt.text().split("\n")
    assert (len(lines), lines[0], lines[-1]) == (80, "line 120", "line 199")


def test_excerpt_of_one_endless_line_is_bounded():
    excerpt = Excerpt()
    for _ in range(100):
        excerpt.feed(b"x" * 65536)

    assert excerpt.text() == "x" * EXCERPT_BYTES


def test_excerpt_is_text_that_a_database_takes():
    assert excerpt_of(b"a\0b\xffc\n") == "a�b�c"
