import zlib

import pytest

from apps.core.csv_text import csv_cell
from apps.core.errors import BadRequest
from apps.executions.api.export import _accepts_gzip, _gzipped, _in_blocks
from apps.executions.api.results import part_at


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "true"),
        (-5, "-5"),
        ("-5", "-5"),
        ("+1.5e3", "+1.5e3"),
        ("=1+1", "'=1+1"),
        ("-x", "'-x"),
        ("@me", "'@me"),
        ("+", "'+"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("a=b", "a=b"),
        ({"a": [1]}, '{"a": [1]}'),
    ],
)
def test_cell(value, cell):
    assert csv_cell(value) == cell


@pytest.mark.parametrize(
    ("header", "accepts"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("", False),
    ],
)
def test_accepts_gzip(header, accepts):
    assert _accepts_gzip(header) is accepts


def test_a_broken_export_has_no_gzip_trailer():
    def broken():
        yield b"first"
        raise RuntimeError("on the way")

    blocks = _gzipped(broken())
    unpacker = zlib.decompressobj(wbits=31)

    assert unpacker.decompress(next(blocks)) == b"first"
    with pytest.raises(RuntimeError):
        next(blocks)
    assert not unpacker.eof


def test_blocks_are_bounded():
    assert [len(block) for block in _in_blocks(("x" * 40 for _ in range(5)), size=64)] == [80, 80, 40]


RESULT = {"data": {"list": [1, {"a/b": 2, "m~n": 3}], "": 4}}


@pytest.mark.parametrize(
    ("pointer", "part"),
    [("", RESULT), ("/data/list/0", 1), ("/data/list/1/a~1b", 2), ("/data/list/1/m~0n", 3), ("/data/", 4)],
)
def test_pointer(pointer, part):
    assert part_at(RESULT, pointer) == part


@pytest.mark.parametrize(
    "pointer", ["data", "/nothing", "/data/list/2", "/data/list/00", "/data/list/-", "/data/list/0/x"]
)
def test_pointer_to_nothing(pointer):
    with pytest.raises(BadRequest):
        part_at(RESULT, pointer)
