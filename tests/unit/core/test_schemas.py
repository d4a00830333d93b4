"""Parameter schemas: two shapes, defaults, violations, secrets, and what they may cost."""

import copy
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.schemas import (
    UnusableSchema,
    check_budget,
    fill_defaults,
    secret_names,
    secret_paths,
    to_json_schema,
    value_violations,
    violations,
)

FLAT = {
    "host": {"type": "string", "required": True, "position": 0},
    "port": {"type": "integer", "default": 22, "minimum": 1, "maximum": 65535, "position": 1},
    "token": {"type": "string", "secret": True},
    "note": "not an object",
}


def messages(schema, parameters, **options):
    return [violation.message for violation in violations(schema, parameters, **options)]


def test_the_flat_shape_becomes_json_schema():
    assert to_json_schema(FLAT) == {
        "type": "object",
        "properties": {
            "host": {"type": "string"},
            "port": {"type": "integer", "default": 22, "minimum": 1, "maximum": 65535},
            "token": {"type": "string"},
        },
        "required": ["host"],
    }


def test_the_json_schema_shape_is_used_unchanged():
    schema = {"type": "object", "properties": {"a": {"secret": True, "position": 1}}, "required": ["a"]}

    assert to_json_schema(schema) == schema


@pytest.mark.parametrize(
    "schema",
    [{"type": {"type": "string"}}, {"type": {"type": "string"}, "properties": {"type": "object"}}, {}],
)
def test_parameters_named_like_keywords_are_flat(schema):
    assert to_json_schema(schema) == {"type": "object", "properties": schema, "required": []}


@pytest.mark.parametrize("schema", [None, [], "x"])
def test_no_schema_allows_everything(schema):
    assert to_json_schema(schema) is None
    assert violations(schema, {"a": object}) == []


def test_nested_properties_may_be_required_and_secret():
    schema = {"db": {"type": "object", "properties": {"user": {"required": True}, "password": {"secret": True}}}}

    assert to_json_schema(schema)["properties"]["db"] == {
        "type": "object", "properties": {"user": {}, "password": {}}, "required": ["user"],
    }  # fmt: skip
    assert messages(schema, {"db": {}}) == ["parameter 'db.user' is required"]


@pytest.mark.parametrize("shape", ["flat", "json schema"])
def test_defaults_fill_what_is_missing_or_null(shape):
    properties = {"a": {"default": [1]}, "b": {"default": None}, "c": {"default": 0}, "d": {}}
    schema = properties if shape == "flat" else {"type": "object", "properties": properties}

    assert fill_defaults(schema, {"a": None, "c": False, "x": 1}) == {"a": [1], "b": None, "c": False, "x": 1}
    assert fill_defaults(schema, None) == {"a": [1], "b": None, "c": 0}


def test_filling_defaults_changes_neither_schema_nor_parameters():
    schema, given_parameters = {"a": {"default": {"deep": []}}}, {"b": 1}

    fill_defaults(schema, given_parameters)["a"]["deep"].append(1)

    assert (schema, given_parameters) == ({"a": {"default": {"deep": []}}}, {"b": 1})


def test_a_required_parameter_with_a_default_is_not_missing():
    assert violations({"a": {"required": True, "default": 1}}, {}) == []


def test_every_violation_names_its_parameter():
    schema = {**FLAT, "tags": {"type": "array", "items": {"type": "string"}}, "mode": {"enum": ["fast", "full"]}}

    found = violations(schema, {"port": 0, "tags": ["a", 2], "mode": "slow", "token": 5, "extra": 1})

    assert {violation.field: violation.message for violation in found} == {
        "host": "parameter 'host' is required",
        "port": "parameter 'port' is less than the minimum of 1",
        "tags.1": "parameter 'tags.1' is not of type \"string\"",
        "mode": 'parameter \'mode\' is not one of "fast" or "full"',
        "token": "parameter 'token' is not of type \"string\"",
    }


def test_values_never_appear_in_a_message():
    schema = {"a": {"type": "integer"}, "b": {"const": "x"}, "c": {"pattern": "^x"}, "d": {"maxLength": 2},
              "e": {"anyOf": [{"type": "null"}]}, "f": {"format": "email"}, "g": {"not": {"type": "string"}}}  # fmt: skip

    found = messages(schema, dict.fromkeys(schema, "hunter2 secret"))

    assert len(found) == 7
    assert not [message for message in found if "hunter2" in message]


def test_templates_pass_for_any_type():
    schema = {"n": {"type": "integer"}, "m": {"enum": [1]}, "o": {"type": "object"}, "p": {"type": "integer"}}

    found = messages(schema, {"n": "{{ a }}", "m": "x{{ b }}", "o": "{{ c }}", "p": "}} {{"}, templates=True)

    assert found == []
    assert len(messages(schema, {"n": "{{ a", "p": "x"}, templates=True)) == 2


def test_any_value_can_be_checked():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    assert [violation.message for violation in value_violations(schema, [])] == ['the value is not of type "object"']
    assert [violation.message for violation in value_violations(schema, {})] == ["value 'a' is required"]


# --- The budget -------------------------------------------------------------------------------------------------


def nested(depth):
    schema = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


def test_a_schema_over_its_size_or_depth_is_refused():
    check_budget({"a": nested(49)})
    check_budget({"a": {"description": "x" * (255 * 1024)}})
    with pytest.raises(UnusableSchema, match="deeper than 50"):
        check_budget({"a": nested(50)})
    with pytest.raises(UnusableSchema, match="256 KiB"):
        check_budget({"a": {"description": "x" * (256 * 1024)}})
    with pytest.raises(UnusableSchema, match="patterns"):
        check_budget({"a": {"anyOf": [{"pattern": "x"}] * 501}})


def doubling(levels):
    definitions = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {
        "type": "object",
        "$defs": {**definitions, f"d{levels}": {"type": "string"}},
        "properties": {"a": {"$ref": "#/$defs/d0"}},
    }


@pytest.mark.parametrize(
    ("schema", "parameters"),
    [
        pytest.param(doubling(40), {"a": 1}, id="references that double"),
        pytest.param({"type": "object", "properties": {}, "allOf": [{"$ref": "#"}]}, {}, id="reference to itself"),
        pytest.param(
            {"a": {"items": {"allOf": [{"type": "string"}] * 5000}}}, {"a": [1] * 5000}, id="many rules, many items"
        ),
    ],
)
def test_a_schema_that_costs_too_much_is_refused_quickly(schema, parameters):
    started = time.thread_time()

    with pytest.raises(UnusableSchema, match="too many steps"):
        violations(schema, parameters)

    assert time.thread_time() - started < 10


def test_patterns_take_linear_time():
    started = time.thread_time()

    found = messages({"a": {"pattern": "^(a+)+$"}}, {"a": "a" * 100_000 + "b"})

    assert (found, time.thread_time() - started < 5) == (["parameter 'a' does not match \"^(a+)+$\""], True)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"a": {"type": "strng"}}, "properties.a.type"),
        ({"a": {"pattern": "(?=x)"}}, "properties.a.pattern"),
        ({"a": {"$ref": "http://169.254.169.254/latest"}}, "Retrieval is disabled"),
        ({"a": {"$ref": "#/nowhere"}}, "nowhere"),
    ],
)
def test_an_invalid_schema_is_refused_when_it_is_used(schema, reason):
    with pytest.raises(UnusableSchema, match=reason):
        violations(schema, {"a": "x"})


def test_values_nested_beyond_the_library_are_refused():
    value = []
    for _ in range(5000):
        value = [value]

    with pytest.raises(UnusableSchema, match="nested too deeply"):
        violations({"a": {"type": "string"}}, {"a": value})


# --- Secrets ----------------------------------------------------------------------------------------------------


def test_secrets_are_found_at_any_depth():
    schema = {
        "plain": {"type": "string"},
        "token": {"secret": True},
        "users": {"type": "array", "items": {"properties": {"name": {}, "password": {"secret": True}}}},
        "any": {"anyOf": [{"properties": {"key": {"secret": True}}}, {"type": "string"}]},
        "map": {"additionalProperties": {"secret": True}},
    }
    value = {
        "plain": "x",
        "token": {"a": 1},
        "users": [{"name": "a", "password": "b"}],
        "any": {"key": 1},
        "map": {"z": 1},
    }

    assert secret_names(schema) == {"token", "users", "any", "map"}
    assert secret_paths(schema, value) == [
        ("token",), ("users", 0, "password"), ("any", "key"), ("map", "z"),
    ]  # fmt: skip
    assert secret_paths({"type": "object", "properties": schema}, value) == secret_paths(schema, value)
    assert (secret_names(None), secret_paths(None, value)) == (frozenset(), [])


# --- Properties -------------------------------------------------------------------------------------------------

names = st.text(min_size=1, max_size=8)
scalars = st.none() | st.booleans() | st.integers(-100, 100) | st.text(max_size=5)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
property_schemas = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "boolean", "array", "object"]),
        "required": st.booleans(),
        "secret": st.booleans(),
        "position": st.integers(0, 9),
        "default": values,
        "minimum": st.integers(-5, 5),
        "maxLength": st.integers(0, 5),
        "enum": st.lists(scalars, min_size=1, max_size=3),
    },
)
flat_schemas = st.dictionaries(names, property_schemas, max_size=4)


@given(flat_schemas, st.dictionaries(names, values, max_size=4))
def test_defaults_are_filled_once_and_given_values_stay(schema, parameters):
    filled = fill_defaults(schema, parameters)

    assert fill_defaults(schema, filled) == filled
    assert {name: filled[name] for name, value in parameters.items() if value is not None} == {
        name: value for name, value in parameters.items() if value is not None
    }


@given(flat_schemas, st.dictionaries(names, values, max_size=4))
def test_both_shapes_find_the_same_violations(schema, parameters):
    before = copy.deepcopy((schema, parameters))
    as_json_schema = to_json_schema(schema)

    assert violations(schema, parameters) == violations(as_json_schema, parameters)
    assert (schema, parameters) == before


@given(values, values)
def test_whatever_stands_as_a_schema_is_used_or_refused(schema, value):
    parameters = value if isinstance(value, dict) else {"a": value}
    try:
        violations(schema, parameters)
    except UnusableSchema:
        return
    secret_paths(schema, parameters)
    fill_defaults(schema, parameters)
