import pytest

from apps.executions.api.ranges import Part, Unsatisfiable, is_known, range_still_applies, requested_part


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-4", 2, 5),
        ("bytes=7-", 7, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-300", 0, 10),
        ("bytes=9-99999999999", 9, 10),
    ],
)
def test_range_of_ten_bytes(header, start, end):
    assert requested_part(header, 10) == Part(start=start, end=end)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes=",
        "bytes=-",
        "bytes=4-2",
        "bytes=0-1,3-4",
        "lines=0-1",
        "bytes=a-b",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_range_that_is_none_is_ignored(header):
    assert requested_part(header, 10) is None


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_range_behind_the_end_is_unsatisfiable(header):
    with pytest.raises(Unsatisfiable):
        requested_part(header, 10)


def test_any_range_of_nothing_is_unsatisfiable():
    with pytest.raises(Unsatisfiable):
        requested_part("bytes=-5", 0)


@pytest.mark.parametrize(
    ("if_range", "etag", "applies"),
    [(None, None, True), (None, '"a"', True), ('"a"', '"a"', True), ('"b"', '"a"', False), ('W/"a"', '"a"', False),
     ('"a"', None, False), ("Wed, 21 Oct 2015 07:28:00 GMT", '"a"', False)],
)  # fmt: skip
def test_if_range(if_range, etag, applies):
    assert range_still_applies(if_range, etag) is applies


@pytest.mark.parametrize(
    ("if_none_match", "etag", "known"),
    [(None, '"a"', False), ('"a"', None, False), ('"a"', '"a"', True), ('W/"a"', '"a"', True), ('"b", "a"', '"a"', True),
     ("*", '"a"', True), ('"b"', '"a"', False)],
)  # fmt: skip
def test_if_none_match(if_none_match, etag, known):
    assert is_known(if_none_match, etag) is known
