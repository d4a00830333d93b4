"""Parameters as people type them."""

import json
import re

import pytest

from apps.core.parameter_text import declared_parameters, read_json, text_of, value_of


def parameter(**spec):
    [found] = declared_parameters({"p": spec})
    return found


@pytest.mark.parametrize(
    "spec, text, value",
    [
        ({"type": "string"}, "007", "007"),
        ({}, "true", "true"),
        ({"type": "integer"}, "-12", -12),
        ({"type": "integer"}, " 12 ", 12),
        ({"type": "number"}, "3", 3),
        ({"type": "number"}, "2.5e3", 2500.0),
        ({"type": "boolean"}, "Yes", True),
        ({"type": "boolean"}, "0", False),
        ({"type": "array"}, '[1, "a"]', [1, "a"]),
        ({"type": "object"}, '{"a": null}', {"a": None}),
        ({"type": ["null", "integer"]}, "4", 4),
        ({"enum": [1, "two", None]}, "1", 1),
        ({"enum": [1, "two", None]}, "null", None),
    ],
)
def test_text_becomes_what_the_schema_says(spec, text, value):
    found = value_of(parameter(**spec), text)

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "spec, text, complaint",
    [
        ({"type": "integer"}, "1.5", "must be a whole number, not '1.5'"),
        ({"type": "integer"}, "", "must be a whole number, not ''"),
        ({"type": "number"}, "nan", "must be a finite number, not 'nan'"),
        ({"type": "number"}, "1,5", "must be a number, not '1,5'"),
        ({"type": "boolean"}, "maybe", "must be true or false, not 'maybe'"),
        ({"type": "array"}, "[1,", "must be a JSON list such as [1, 2] (Expecting value at line 1, column 4)"),
        ({"type": "array"}, "{}", "must be a JSON list such as [1, 2]"),
        ({"type": "object"}, '{"a": NaN}', 'must be a JSON object such as {"key": "value"} (NaN is not JSON)'),
        ({"type": "array"}, "[" * 100_000, "must be a JSON list such as [1, 2] (nested too deep)"),
        ({"enum": ["fast", 2]}, "slow", "must be one of fast, 2, not 'slow'"),
    ],
)
def test_text_that_does_not_fit_says_what_would(spec, text, complaint):
    with pytest.raises(ValueError) as refused:
        value_of(parameter(**spec), text)

    assert str(refused.value) == complaint


def test_a_name_that_no_schema_declares_is_text():
    assert value_of(None, "[1]") == "[1]"


def test_both_shapes_declare_the_same():
    flat = {"b": {"type": "integer", "default": 3}, "a": {"required": True, "secret": True, "position": 0}, "x": 1}
    full = {
        "type": "object",
        "properties": {"b": {"type": "integer", "default": 3}, "a": {"secret": True, "position": 0}},
        "required": ["a"],
    }

    def told(schema):
        return [(p.name, p.kind, p.required, p.secret, p.has_default) for p in declared_parameters(schema)]

    expected = [("a", "string", True, True, False), ("b", "integer", False, False, True)]
    assert told(flat) == expected
    assert told(full) == expected


@pytest.mark.parametrize("schema", [None, {}, [], "text"])
def test_no_schema_declares_nothing(schema):
    assert declared_parameters(schema) == []


def test_text_of_reads_back():
    assert [text_of(value) for value in ("a b", 1, True, None, {"k": "ü"})] == [
        "a b",
        "1",
        "true",
        "null",
        '{"k": "ü"}',
    ]


@pytest.mark.parametrize(
    "text, complaint",
    [
        ('"\\u0000"', "U+0000"),
        ('{"a\\u0000": 1}', "U+0000"),
        ('["\\\\\\u0000"]', "U+0000"),
        ('"\\ud800"', "surrogate"),
        ('"\ud800"', "surrogate"),
        ("1e999", "too large"),
        ("[" * 202 + "]" * 202, "nested too deep"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_what_could_not_be_stored_is_not_read(text, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        read_json(text)


@pytest.mark.parametrize("text", ['"\\\\u0000"', '"\\ud83d\\ude00"', "[" * 200 + "]" * 200, '"[[[[{{{{"'])
def test_what_only_looks_so_is_read(text):
    assert read_json(text) == json.loads(text)
