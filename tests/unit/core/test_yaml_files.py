"""Reading YAML that others wrote."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.core.yaml_files import MAX_BYTES, YamlError, parse_document, parse_yaml, read_yaml

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{level}: &a{level} {{<<: [{','.join([f'*a{level - 1}'] * 9)}]}}\n" for level in range(1, 10)
)


def test_values_are_plain_json_and_keys_are_texts():
    value = parse_yaml("a: 1\nb: [x, 2024-01-01, 1.5, yes, ~, '5']\non: {1: x, null: y}\nm: {<<: {k: 1}, l: 2}")

    assert value == {
        "a": 1,
        "b": ["x", "2024-01-01", 1.5, True, None, "5"],
        "on": {"1": "x", "null": "y"},
        "m": {"k": 1, "l": 2},
    }


def test_a_document_knows_the_lines_of_its_keys():
    document = parse_document("# a comment\nname: x\n\ngrants:\n  - a\nlabel: y")

    assert document.key_lines == {"name": 2, "grants": 4, "label": 6}


@pytest.mark.parametrize("text", ["", "# nothing", "---\n"])
def test_an_empty_document_is_none(text):
    assert parse_yaml(text) is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a: b: c", 1, id="syntax"),
        pytest.param("a: 1\n- b", 2, id="mixed"),
        pytest.param("a: 1\n---\nb: 2", 2, id="two documents"),
        pytest.param("a: 1\nb: !!python/object/apply:os.system [id]", 2, id="object"),
        pytest.param("a: !!binary aGk=", 1, id="binary"),
        pytest.param("a: !!set {x}", 1, id="set"),
        pytest.param("a: !!int x", 1, id="no number"),
        pytest.param("a: !!bool x", 1, id="no boolean"),
        pytest.param("a: .nan", 1, id="not a number"),
        pytest.param("a: -.inf", 1, id="infinite"),
        pytest.param('x: 1\na: "\\0"', 2, id="NUL"),
        pytest.param('a: "\\ud800"', 1, id="surrogate"),
        pytest.param("a: \x07", 1, id="control character"),
        pytest.param("? [a]\n: b", 1, id="list as key"),
        pytest.param("a: &x [*x]", 1, id="alias in itself"),
        pytest.param("a: {b: &k {<<: *k}}", 1, id="merge of itself"),
        pytest.param("a: *nobody", 1, id="unknown alias"),
        pytest.param("a: " + "[" * 60 + "]" * 60, 1, id="too deep"),
        pytest.param("a: &x 1\n" + "b: [" + "*x," * 101 + "]", 2, id="too many aliases"),
        pytest.param(BOMB, 1, id="billion laughs"),
        pytest.param(MERGE_BOMB, 1, id="billion merges"),
        pytest.param("a: " + "9" * 5000, 1, id="number too long for Python"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(text, line):
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)

    assert caught.value.line == line


def test_limits_hold_exactly():
    parse_yaml("[" * 50 + "]" * 50)
    parse_yaml("a: &x 1\nb: [" + "*x," * 100 + "]")
    parse_yaml("#" * MAX_BYTES)
    with pytest.raises(YamlError, match="larger than 1 MiB"):
        parse_yaml("#" * (MAX_BYTES + 1))


def test_a_file_is_read_with_its_byte_order_mark(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1")

    assert read_yaml(tmp_path / "a.yaml").value == {"a": 1}


def test_a_file_that_is_not_text_is_refused_with_its_line(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"a: 1\nb: \xff")

    with pytest.raises(YamlError, match="not UTF-8") as caught:
        read_yaml(tmp_path / "a.yaml")

    assert caught.value.line == 2


@given(st.text(alphabet=st.sampled_from("ab:-[]{},&*!?|>'\"%@` \n\t#<=0.~")))
@example("a: !!null 5")
@example("<<: 3")
@example("!!map x")
@example("!!seq x")
@example("!!str [a]")
def test_any_text_gives_json_or_one_kind_of_error(text):
    try:
        value = parse_yaml(text)
    except YamlError:
        return
    json.dumps(value, allow_nan=False).encode()


texts = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=10)
words = st.text(st.characters(categories=["L", "N"]), max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=20,
)


@given(json_values)
def test_json_is_yaml(value):
    assert parse_yaml(json.dumps(value, ensure_ascii=False)) == value
