import pytest
from rest_framework.exceptions import ParseError

from apps.core.api.parsers import MAX_DEPTH, loads
from apps.core.errors import BadRequest


@pytest.mark.parametrize(
    "text", ["", "{", "{'a': 1}", '{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}', '{"a": ' + "9" * 5000 + "}", "\xff"]
)
def test_text_that_is_no_json_is_refused(text):
    with pytest.raises(ParseError):
        loads(text.encode("latin-1"))


@pytest.mark.parametrize(
    "text", ['{"a": "x\\u0000y"}', '{"a\\u0000": 1}', '[{"a": ["\\u0000"]}]', '"\\ud800"', '{"\\udfff": 1}']
)
def test_text_that_cannot_be_stored_is_refused(text):
    with pytest.raises(BadRequest):
        loads(text.encode())


def test_refused_number_is_explained_without_python():
    with pytest.raises(ParseError, match=r"^The request body is not JSON: a number has too many digits$"):
        loads(b"[" + b"9" * 5000 + b"]")


def test_a_backslash_before_u0000_is_only_text():
    assert loads(b'"C:\\\\u0000"') == "C:\\u0000"


def test_surrogate_pairs_are_characters():
    assert loads(b'"\\ud83d\\ude00"') == "😀"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5_000, 200_000])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_deep_nesting_is_refused(depth, pair):
    text = "[" * depth + "]" * depth if pair == "[]" else '{"a":' * depth + "1" + "}" * depth
    with pytest.raises(BadRequest):
        loads(text.encode())


def test_nesting_up_to_the_limit_and_wide_values_are_fine():
    assert loads(("[" * MAX_DEPTH + "]" * MAX_DEPTH).encode())
    assert len(loads(("[" + "[]," * 9_999 + "[]]").encode())) == 10_000


def test_integers_are_exact_at_64_bits():
    assert loads(b"[9223372036854775807, -9223372036854775808, 1.0]") == [2**63 - 1, -(2**63), 1.0]
