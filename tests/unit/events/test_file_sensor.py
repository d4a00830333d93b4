"""The file sensor of the core pack: how it looks at files."""

import importlib.util
import os
import threading
from pathlib import Path

import jwt
import pytest

FILE = Path(__file__).parents[3] / "packs" / "core" / "sensors" / "file_sensor.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("file_sensor", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def look(program, tmp_path):
    """Return a function that scans, and says what has changed since the scan before."""
    state = {"known": {}}

    def scan(**params):
        settings = program.Settings({"path": str(tmp_path), **params})
        found = program.scan(settings, state["known"])
        changes = sorted(
            (kind, os.path.relpath(path, tmp_path)) for kind, path, _ in program.differences(state["known"], found)
        )
        state["known"] = found
        return changes

    return scan


def test_created_modified_and_deleted_are_told(look, tmp_path):
    (tmp_path / "there").write_text("old")
    look()

    (tmp_path / "new").write_text("x")
    assert look() == [("created", "new")]
    (tmp_path / "new").write_text("longer")
    assert look() == [("modified", "new")]
    (tmp_path / "new").unlink()
    assert look() == [("deleted", "new")]
    assert look() == []


def test_replaced_file_is_modified_even_when_size_and_time_are_the_same(look, tmp_path):
    (tmp_path / "config").write_text("abc")
    os.utime(tmp_path / "config", (1000, 1000))
    look()

    (tmp_path / ".tmp").write_text("xyz")
    os.utime(tmp_path / ".tmp", (1000, 1000))
    (tmp_path / ".tmp").rename(tmp_path / "config")

    assert look() == [("modified", "config")]


def test_change_of_mode_is_no_modification(look, tmp_path):
    (tmp_path / "config").write_text("abc")
    look()

    (tmp_path / "config").chmod(0o600)

    assert look() == []


def test_pattern_and_depth(look, tmp_path):
    (tmp_path / "below" / "deep").mkdir(parents=True)
    for name in ("a.csv", "a.txt", "below/b.csv", "below/deep/c.csv"):
        (tmp_path / name).write_text("x")

    assert look(pattern="*.csv") == [("created", "a.csv")]
    assert look(pattern="*.csv", recursive=True) == [("created", "below/b.csv"), ("created", "below/deep/c.csv")]


def test_links_in_circles_and_to_nowhere_end(look, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "also").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")

    assert look(recursive=True) == [("created", "also"), ("created", "file")]


def test_single_file_that_comes_goes_and_comes_again(look, tmp_path):
    one = {"path": str(tmp_path / "one")}
    assert look(**one) == []

    (tmp_path / "one").write_text("x")
    assert look(**one) == [("created", "one")]
    (tmp_path / "one").unlink()
    assert look(**one) == [("deleted", "one")]


def test_vanished_directory_takes_its_files_along(look, tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_text("x")
    look(recursive=True)

    (tmp_path / "below" / "file").unlink()
    (tmp_path / "below").rmdir()

    assert look(recursive=True) == [("deleted", "below/file")]


def test_directory_that_cannot_be_read_says_nothing_about_its_files(program, look, tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_text("x")
    look(recursive=True)
    real = os.scandir

    def refusing(path):
        if path.endswith("below"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(program.os, "scandir", refusing)
    assert look(recursive=True) == []


def test_files_that_come_and_go_meanwhile_do_no_harm(look, tmp_path):
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            for number in range(50):
                (tmp_path / f"f{number}").write_text("x")
            for number in range(50):
                (tmp_path / f"f{number}").unlink()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(100):
            look()
    finally:
        stop.set()
        thread.join()
    look()
    assert look() == []


def test_large_directory(look, tmp_path):
    for number in range(5000):
        (tmp_path / f"f{number}").touch()

    assert len(look()) == 5000
    (tmp_path / "f17").unlink()
    assert look() == [("deleted", "f17")]


def test_payload_of_names_and_times_that_are_odd(program, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff\xfe"
    Path(os.fsdecode(name)).write_text("abc")
    os.utime(name, ns=(0, 1_700_000_000_123_456_789))
    settings = program.Settings({"path": str(tmp_path)})
    [(kind, path, mark)] = program.differences({}, program.scan(settings, {}))

    payload = program.payload_of(kind, path, mark)

    assert payload == {
        "type": "created",
        "path": f"{tmp_path}/\ufffd\ufffd",
        "size_bytes": 3,
        "modified_at": "2023-11-14T22:13:20.123456Z",
    }
    assert program.moment(10**30) is None


@pytest.mark.parametrize(
    "params", [{}, {"path": ""}, {"path": 7}, {"path": "a\0b"}, {"path": "/", "interval_seconds": "often"}]
)
def test_settings_that_cannot_be_used_are_refused(program, params):
    with pytest.raises(program.BadSettings):
        program.Settings(params)


def test_token_is_renewed_at_half_of_its_time(program):
    token = jwt.encode({"iat": 1000, "exp": 3000, "metadata": {"trigger_types": ["core.filechange"]}}, "k" * 32)

    assert program.renewal_time(token) == 2000
