"""Templates in text (workflows.md 6.2): where they begin and end, types, string forms, whole documents."""

import json
import time

import pytest

from apps.core.expressions import (
    DocumentTooLarge,
    ExpressionError,
    ExpressionSyntaxError,
    LimitExceeded,
    Scope,
    UndefinedValue,
    inner_expression,
    parse_template,
    render,
)
from apps.core.expressions.values import equals

ROOTS = {
    "a": 1,
    "s": "text",
    "n": None,
    "big": 2**130,
    "one": 1.0,
    "xs": [1, {"k": "é"}],
    "o": {"k": [True, None]},
    "t": "{{ a }}",
}
SCOPE = Scope(roots=ROOTS)


def rendered(document, **options):
    return render(document, SCOPE, **options).value


@pytest.mark.parametrize(
    "text, expected",
    [
        ("plain", "plain"), ("", ""), ("{{ a }}", 1), ("  {{ a }}\n", 1), ("{{a}}", 1), ("x{{ a }}", "x1"), ("{{ a }}{{ a }}", "11"),
        ("{{ a }} {{ s }}", "1 text"), ("{{ n }}", None), ("-{{ n }}-", "--"), ("{{ big }}", 2**130), ("{{ one }}", 1.0), ("={{ one }}", "=1.0"),
        ("{{ xs }}", [1, {"k": "é"}]), ("xs: {{ xs }}", 'xs: [1,{"k":"é"}]'), ("{{ o }}!", '{"k":[true,null]}!'), ("{{ true }}.", "true."),
        ("{{ {'a': {'b': 1}}.a }}", {"b": 1}), ("{{ '}}' }}", "}}"), ('{{ "}}" ~ "{{" }}', "}}{{"), ("{{ '{{' }}", "{{"), ("{{ '{{' }} a }}", "{{ a }}"),
        ("{{ {'a': {}} }}", {"a": {}}), ("{{ [{'a': 1}][0].a }}", 1), ("{{ {'a': 1}}}", {"a": 1}), ("a {{ no end", "a {{ no end"), ("{{", "{{"),
        ("}} {{", "}} {{"), ("{{ a }", "{{ a }"), ("{{ 'a }}", "{{ 'a }}"), ("it's {{ a }} o'clock", "it's 1 o'clock"),
        ("{{ foo; {{ a }}", "{{ foo; 1"), ("{{ (a }} {{ a }}", "{{ (a }} 1"), ("{% if a %}{# no #}${#list}", "{% if a %}{# no #}${#list}"),
        ("{# {{ a }} #}", "{# 1 #}"), ("{{ t }}", "{{ a }}"), ("<{{ t }}>", "<{{ a }}>"), ("{{ 'a\\'}}' }}", "a'}}"),
        ("{{\n a\n}}", 1), ("{{ a }}\n\n{{ a }}", "1\n\n1"), ("é{{ a }}é", "é1é"),
    ],
)  # fmt: skip
def test_text(text, expected):
    found = rendered(text)

    assert repr(found) == repr(expected)


def test_documents_of_any_shape():
    document = {"a": ["{{ a }}", {"b": "x{{ s }}", "{{ a }}": 5}], "c": None, "d": 1.5, "e": True, "f": {}, "g": []}

    assert rendered(document) == {
        "a": [1, {"b": "xtext", "{{ a }}": 5}],
        "c": None,
        "d": 1.5,
        "e": True,
        "f": {},
        "g": [],
    }
    assert list(rendered(document)) == list(document)
    assert document["a"][0] == "{{ a }}"


def test_what_a_template_yields_is_data():
    scope = Scope(roots={"payload": {"x": "{{ secret }}", "y": ["{{ secret }}"]}, "secret": "hunter2"})

    assert render({"a": "{{ payload.x }}", "b": "{{ payload }}", "c": "-{{ payload.x }}"}, scope).value == {
        "a": "{{ secret }}", "b": {"x": "{{ secret }}", "y": ["{{ secret }}"]}, "c": "-{{ secret }}",
    }  # fmt: skip


def test_lenient_places_get_null_or_nothing_and_a_warning():
    document = {
        "a": "{{ missing }}",
        "b": ["{{ xs.9.k.z }}", "-{{ missing.x }}-{{ a }}"],
        "c": "{{ 1 / 0 }}",
        "d": "{{ a + }}",
        "e": "{{ missing | default('ok') }}",
        "f": "{{ n }}",
        "g": "\n {{ upper(5) }} and {{ foo() }}",
    }

    found = render(document, SCOPE, lenient=True)

    assert found.value == {
        "a": None, "b": [None, "--1"], "c": None, "d": None, "e": "ok", "f": None, "g": "\n  and ",
    }  # fmt: skip
    assert [
        (warning["path"], warning["template"], warning["error"].split(" (")[0][:30]) for warning in found.warnings
    ] == [
        ("a", "{{ missing }}", "unknown name 'missing'"),
        ("b.0", "{{ xs.9.k.z }}", "'xs.9' is undefined"),
        ("b.1", "{{ missing.x }}", "unknown name 'missing'"),
        ("c", "{{ 1 / 0 }}", "division by zero"),
        ("d", "{{ a + }}", "the expression ends too early"),
        ("g", "{{ upper(5) }}", "upper: needs a string, not num"),
        ("g", "{{ foo() }}", "unknown name 'foo': there is n"),
    ]
    assert found.warnings[5]["error"].endswith("(line 2, column 5)")


@pytest.mark.parametrize(
    "template, kind, place",
    [
        ("{{ missing }}", UndefinedValue, (1, 4)),
        ("a\n{{ a }} {{ s < 1 }}", ExpressionError, (2, 14)),
        ("a {{ a b }}", ExpressionSyntaxError, (1, 8)),
        ("{{{a}}}", ExpressionSyntaxError, (1, 5)),
    ],
)
def test_strict_places_raise_with_the_path_and_the_position_in_the_text(template, kind, place):
    with pytest.raises(kind) as raised:
        rendered({"x": [{"y": template}]})

    assert (raised.value.path, (raised.value.line, raised.value.column)) == ("x.0.y", place)
    assert f"(x.0.y, line {place[0]}, column {place[1]})" in str(raised.value)


def test_a_rendered_document_has_one_mebibyte():
    scope = Scope(roots={"half": "x" * 524_000, "wide": "é" * 300_000})

    assert render(["{{ half }}", "{{ half }}"], scope).value[1] == "x" * 524_000
    for document in (
        ["{{ half }}"] * 3,
        ["{{ half }}{{ half }}", "x" * 9000],
        ["{{ wide }}", "{{ wide }}"],
        "x" * 1_048_575,
    ):
        for lenient in (False, True):
            with pytest.raises(DocumentTooLarge):
                render(document, scope, lenient=lenient)


def test_many_templates_of_a_large_value_end_at_once():
    scope = Scope(roots={"value": [{"k": "v"}] * 10_000})
    began = time.thread_time()

    with pytest.raises(DocumentTooLarge):
        render({str(index): "{{ value }}" for index in range(5000)}, scope, lenient=True)

    assert time.thread_time() - began < 1


def test_text_that_grows_too_long_is_missing_in_lenient_places():
    scope = Scope(roots={"half": "x" * 600_000})

    found = render({"a": "{{ half }}{{ half }}", "b": 1}, scope, lenient=True)

    assert found.value == {"a": None, "b": 1}
    assert [warning["path"] for warning in found.warnings] == ["a"]
    with pytest.raises(LimitExceeded):
        render({"a": "{{ half }}{{ half }}", "b": 1}, scope)


def test_the_templates_of_a_document_share_a_budget():
    found = render(["{{ range(70000) | sum }}"] * 100, Scope(roots={}), lenient=True)

    assert 0 < sum(value is not None for value in found.value) < 15
    assert "take more than 1,000,000 steps" in found.warnings[-1]["error"]


def test_expressions_of_a_megabyte_are_errors_not_text():
    began = time.thread_time()
    found = render({"a": "{{ " + "a" * 900_000 + " }}", "b": "{{ a }}"}, SCOPE, lenient=True)

    assert found.value == {"a": None, "b": 1}
    assert len(json.dumps(found.warnings)) < 3000
    assert time.thread_time() - began < 0.5


def test_warnings_are_bounded():
    found = render(["{{ missing }}"] * 5000, SCOPE, lenient=True)

    assert len(found.warnings) == 101
    assert found.warnings[-1] == {"path": "", "template": "", "error": "and 4900 more"}


@pytest.mark.parametrize(
    "text", ["{{" * 200_000, "{{ '" * 100_000, "{{ (" * 100_000, "{{ " + "(" * 500_000, "{{ \"'" * 100_000]
)
def test_texts_made_of_brackets_take_no_time(text):
    began = time.thread_time()
    found = render({"a": text}, SCOPE, lenient=True).value

    assert found["a"] in (None, text)
    assert time.thread_time() - began < 1


def test_what_is_looked_at_in_vain_is_bounded_in_each_text():
    assert parse_template("{{ " * 100).parts == ["{{ " * 100]
    with pytest.raises(LimitExceeded):
        parse_template("{{ " * 300)
    assert len(parse_template("{{ a['b'] }} " * 6_000).parts) == 12_000  # 24,000 marks, none of them in vain


def test_deep_documents_and_values():
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    scope = Scope(roots={"deep": deep, "a": 1})

    found = render({"a": "{{ deep }}", "b": "{{ a }}", "c": "{{ deep | length }}"}, scope, lenient=True)

    assert found.value == {"a": None, "b": 1, "c": 1}
    assert "nested deeper than 300" in found.warnings[0]["error"]
    assert render({"a": "x{{ deep }}"}, scope).value["a"] == "x" + "[" * 10_001 + "]" * 10_001
    nested = render(json.loads("[" * 250 + '"{{ a }}"' + "]" * 250), scope).value
    assert json.dumps(nested) == "[" * 250 + "1" + "]" * 250


def test_a_deep_document_never_recurses():
    document: list = ["{{ a }}"]
    for _ in range(5000):
        document = [document]

    found = render(document, SCOPE, lenient=True)

    assert len(found.warnings) == 1


def test_numbers_that_are_not_finite_are_missing():
    scope = Scope(roots={"f": float("nan"), "g": [float("inf")]})

    found = render({"a": "{{ f }}", "b": "{{ g }}", "c": "{{ g }}!", "d": [float("nan")]}, scope, lenient=True)

    assert found.value == {"a": None, "b": None, "c": "!", "d": [None]}
    assert len(found.warnings) == 4


def test_parts():
    template = parse_template("a {{ b }}{{c}}")

    assert [part if isinstance(part, str) else (part.expression, part.start, part.written) for part in template.parts] == [
        "a ", (" b ", 4, "{{ b }}"), ("c", 11, "{{c}}"),
    ]  # fmt: skip
    assert template.only is None


@pytest.mark.parametrize(
    "text, expected",
    [("a == 1", ("a == 1", 0)), (" {{ a }} ", (" a ", 3)), ("{{ a }} {{ b }}", ("{{ a }} {{ b }}", 0)), ("{{ a", ("{{ a", 0)),
     ("{'a': '{{ b }}'}", ("{'a': '{{ b }}'}", 0))],
)  # fmt: skip
def test_the_inside_of_one_template_or_a_bare_expression(text, expected):
    assert inner_expression(text) == expected


def test_equality_of_deep_values():
    from apps.core.expressions.budget import Run

    deep: list = []
    other: list = []
    for _ in range(10_000):
        deep, other = [deep], [other]

    assert equals(Run(Scope(roots={})), deep, other) is True
    assert equals(Run(Scope(roots={})), deep, [other]) is False
