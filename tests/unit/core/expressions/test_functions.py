"""Every function, filter and test of workflows.md 6.6: results, wrong arguments, limits."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta, timezone

import pytest

from apps.core.expressions import ExpressionError, ExpressionSyntaxError, LimitExceeded, Scope, compile_expression
from apps.core.expressions.functions import FILTERS, FUNCTIONS, TESTS

ROOTS = {
    "text": "The quick-brown fox",
    "long": "x" * 1_048_576,
    "numbers": [3, 1, 2.5],
    "many": list(range(100_000)),
    "more": list(range(100_001)),
    "o": {"b": 1, "a": [1, {"c": None}], "": 0},
    "deep": {"a": {"b": [10, {"c": "found"}]}},
    "far": 10**4999,
}
TIME = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=timezone(timedelta(hours=2)))


def value(text):
    return compile_expression(text).evaluate(Scope(roots=ROOTS, now=lambda: TIME))


@pytest.mark.parametrize(
    "text, expected",
    [
        # convert
        ("string(null)", "null"), ("string(1.0)", "1.0"), ("string(true)", "true"), ("string('a')", "a"),
        ("string([null, 'é'])", '[null,"é"]'), ("number('12')", 12), ("number(' -1.50 ')", -1.5), ("number('1e3')", 1000.0),
        ("number('.5')", 0.5), ("number('5.')", 5.0), ("number(true)", 1), ("number(false)", 0), ("number(2.5)", 2.5),
        ("number('+7')", 7), ("number('007')", 7), ("int('12.9')", 12), ("int(-12.9)", -12), ("int('-0.5')", 0), ("int(true)", 1),
        ("int('1e3')", 1000), ("int('9007199254740993.7')", 9007199254740993), ("int('.9')", 0), ("int(7)", 7),
        ("bool('')", False), ("bool([0])", True), ("bool(0.0)", False),
        ("[null, true, 1, 1.5, '', [], {}] | join", "true11.5[]{}"),
        # collection
        ("length('añ😀')", 3), ("length([1, 2])", 2), ("length({'a': 1})", 1), ("keys(o)", ["", "a", "b"]),
        ("values(o)", [0, [1, {"c": None}], 1]), ("o | items", [["", 0], ["a", [1, {"c": None}]], ["b", 1]]),
        ("contains([1, 2], 2.0)", True), ("contains('abc', 'bc')", True), ("contains(o, 'a')", True), ("contains([1], true)", False),
        ("reversed([1, 2])", [2, 1]), ("reversed('abc')", "cba"), ("sort([3, 1, 2.5])", [1, 2.5, 3]), ("sort(['b', 'B', 'a'])", ["B", "a", "b"]),
        ("sort([])", []), ("unique([1, 1.0, true, '1', null, [1], [1.0], {'a': 1}, {'a': 1.0}, null])", [1, True, "1", None, [1], {"a": 1}]),
        ("unique([{'a': 1, 'b': 2}, {'b': 2, 'a': 1}])", [{"a": 1, "b": 2}]), ("flat([1, [2, [3]], []])", [1, 2, [3]]),
        ("zip([1, 2, 3], ['a', 'b'])", [[1, "a"], [2, "b"]]), ("zip([], [1])", []), ("range(3)", [0, 1, 2]), ("range(2, 5)", [2, 3, 4]),
        ("range(-1)", []), ("range(5, 2)", []), ("range(-2, 1)", [-2, -1, 0]), ("slice([1, 2, 3], 1)", [2, 3]),
        ("slice([1, 2, 3], 0, 2)", [1, 2]), ("slice('abc', -2)", "bc"), ("slice('abc', 1, 99)", "bc"), ("slice('abc', 5)", ""),
        ("index_of([1, 'a'], 'a')", 1), ("index_of([1], 2)", -1), ("index_of('abc', 'c')", 2), ("index_of('abc', 'x')", -1),
        ("index_of([true], 1)", -1), ("count([1, 1.0, true], 1)", 2), ("count('ababa', 'aba')", 1), ("count(['a', 'b', 'a'], 'a')", 2),
        ("merge({'a': 1, 'b': {'x': 1}}, {'b': {'y': 2}})", {"a": 1, "b": {"y": 2}}), ("chunks([1, 2, 3], 2)", [[1, 2], [3]]),
        ("chunks([], 2)", []), ("join(['a', 1, null, true])", "a1true"), ("join(['a', 'b'], ', ')", "a, b"), ("join([])", ""),
        ("min(2, 1.5)", 1.5), ("max('a', 'b')", "b"), ("min([3, 1])", 1), ("max(['x'])", "x"), ("sum([1, 2.5])", 3.5), ("sum([])", 0),
        # math
        ("abs(-2)", 2), ("abs(2.5)", 2.5), ("floor(-1.5)", -2), ("ceil(1.2)", 2), ("floor(3)", 3), ("round(2.5)", 3), ("round(-2.5)", -3),
        ("round(0.49999999999999994)", 0), ("round(1e300) == 1e300", True), ("round(4503599627370495.5)", 4503599627370496), ("round(2.675, 2)", 2.68), ("round(1234, -2)", 1200),
        ("round(-1250, -2)", -1300), ("round(1.005, 2)", 1.01), ("round(5, 2)", 5), ("round(1250.5, -2)", 1300), ("round(0.1, 300)", 0.1),
        # string
        ("lower('ÄB')", "äb"), ("upper('straße')", "STRASSE"), ("trim(' \\n a b \\t')", "a b"), ("split('a,b,,c', ',')", ["a", "b", "", "c"]),
        ("split('', ',')", [""]), ("replace('aaa', 'a', 'bb')", "bbbbbb"), ("replace('abc', 'x', 'y')", "abc"), ("replace('a.c', '.', '')", "ac"),
        ("starts_with('abc', 'ab')", True), ("ends_with('abc', 'ab')", False), ("starts_with('abc', '')", True),
        ("match('^b+', 'abb')", False), ("match('b+$', 'abb')", True), ("match('', 'a')", True), ("match('(?i)FOX', text)", True),
        ("match('\\d{2,}', 'a12')", True), ("match('é.', 'aéx')", True),
        # more
        ("get(deep, 'a.b.1.c')", "found"), ("get(deep, 'a.b.7', 5)", 5), ("get(deep, 'a.x.y')", None), ("get(o, '')", 0), ("get([1, 2], '1')", 2),
        ("get(null, 'a', 1)", 1), ("get(o, 'a.-1', 'no')", "no"), ("to_json({'a': [1.0, 'é', null]})", '{"a":[1.0,"é",null]}'),
        ("to_json(null)", "null"), ("to_json('a\"b')", '"a\\"b"'), ("from_json('{\"a\": [1, 1.0, true, null, \"x\"]}')", {"a": [1, 1.0, True, None, "x"]}),
        ("from_json(' 12345678901234567890123 ')", 12345678901234567890123), ("now()", "2026-03-01T10:30:15.250000Z"),
        ("sha256('é')", hashlib.sha256("é".encode()).hexdigest()), ("base64_encode('é')", base64.b64encode("é".encode()).decode()),
        ("base64_decode('w6k=')", "é"), ("base64_decode('w6k')", "é"), ("base64_decode('')", ""), ("base64_decode('Pz8_Pj4-')", "???>>>"),
        # filters
        ("[1, 2] | first", 1), ("'abc' | last", "c"), ("'a\\nb\\r\\nc\\n' | lines", ["a", "b", "c"]), ("'' | lines", []),
        ("'a\\n\\nb' | lines", ["a", "", "b"]), ("\"it's a big-deal (o\" | title", "It's A Big-Deal (O"), ("'ABC dEF' | capitalize", "Abc def"),
        ("'' | capitalize", ""), ("'abcdefgh' | truncate(6)", "abc..."), ("'abcdef' | truncate(6)", "abcdef"), ("'abcdef' | truncate(2)", ".."),
        ("'abc' | truncate(0)", ""), ("'a b/ü&' | urlencode", "a%20b/%C3%BC%26"), ("{'b': 'x y', 'a': 1, 'c': true, 'd/': null} | urlencode", "a=1&b=x+y&c=true&d%2F="),
        ("[1] | tojson", "[1]"), ("5 | string | length", 1), ("'a-b' | split('-') | last | upper", "B"), ("[[2], [1]] | flat | sort | join(',')", "1,2"),
        ("['a', 'b'] | index_of('b')", 1), ("3 | range", [0, 1, 2]), ("3 | max(5)", 5), ("deep | get('a.b.0')", 10), ("{} | merge({'a': 1}) | keys", ["a"]),
        # tests
        ("null is none", True), ("0 is none", False), ("true is true", True), ("1 is true", False), ("false is false", True), ("0 is false", False),
        ("true is boolean", True), ("1 is boolean", False), ("1 is number", True), ("1.5 is number", True), ("true is number", False),
        ("1 is integer", True), ("1.0 is integer", False), ("true is integer", False), ("1.0 is float", True), ("1 is float", False),
        ("'' is string", True), ("1 is string", False), ("[] is sequence", True), ("'a' is sequence", False), ("{} is sequence", False),
        ("{} is mapping", True), ("[] is mapping", False), ("o.zz is defined", False), ("o.a is undefined", False), ("1 is not string", True),
    ],
)  # fmt: skip
def test_results(text, expected):
    found = value(text)

    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    "text, kind",
    [
        ("null", "null"),
        ("true", "bool"),
        ("1", "number"),
        ("1.5", "number"),
        ("''", "string"),
        ("[]", "array"),
        ("{}", "object"),
    ],
)
def test_type_of(text, kind):
    assert value(f"type_of({text})") == kind


@pytest.mark.parametrize(
    "text",
    [
        "number('a')", "number('')", "number(null)", "number([])", "number('1 2')", "number('nan')", "number('inf')", "number('0x10')",
        "number('1_000')", "number('١')", "int('a')", "int(null)", "int('1.2.3')", "length(1)", "length(null)", "length(true)",
        "keys([])", "values('a')", "contains(1, 1)", "contains('a', 1)", "reversed({})", "sort('ab')", "sort([1, 'a'])", "sort([true])",
        "sort([null, null])", "sort([[1], [0]])", "unique('aa')", "flat({})", "zip([1], 'a')", "range(1.0)", "range('3')", "range(true)",
        "range(1, null)", "slice(1, 2)", "slice([1], '0')", "slice([1], 0, null)", "index_of({}, 1)", "index_of('a', 1)", "count(1, 1)",
        "count('a', '')", "merge({}, [])", "merge(null, {})", "chunks([1], 0)", "chunks([1], 1.5)", "chunks('ab', 1)", "join('ab')",
        "join([1], 2)", "min([])", "max(1, 'a')", "min(true, false)", "min(1)", "max([1, 'a'])", "sum(['a'])", "sum('a')", "sum([true])",
        "abs('1')", "floor(true)", "round(null)", "round(1, 1.5)", "round(1, 301)", "lower(1)", "upper(null)", "trim([])", "split('a', '')",
        "split(1, ',')", "replace('a', '', 'b')", "replace('a', 'b', 1)", "starts_with(1, '1')", "ends_with('a', null)", "match(1, 'a')",
        "match('a', 1)", "match('(', 'a')", "match('(?=a)', 'a')", "match('(a)\\\\1', 'aa')", "get({}, 1)", "from_json('')", "from_json('{')",
        "from_json('[1,]')", "from_json('NaN')", "from_json('[Infinity]')", "from_json('1e999')", "from_json('\"\\\\u0000\"')",
        "from_json('\"\\\\ud800\"')", "from_json(1)", "sha256(1)", "base64_encode(null)", "base64_decode('*')", "base64_decode('/w==')",
        "base64_decode('AA==')", "5 | first", "{} | last", "[] | items", "1 | lines", "1 | title", "'a' | truncate('1')", "'a' | truncate(-1)",
        "[1] | urlencode", "null | urlencode", "[] | first", "'' | last",
    ],
)  # fmt: skip
def test_wrong_arguments(text):
    with pytest.raises(ExpressionError) as raised:
        value(text)

    assert not isinstance(raised.value, ExpressionSyntaxError)
    assert raised.value.line == 1


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_wrong_numbers_of_arguments(name):
    function = FUNCTIONS[name]
    for count in (function.least - 1, function.most + 1):
        if count >= 0:
            with pytest.raises(ExpressionSyntaxError, match=rf"{name}\(\) takes .* argument"):
                compile_expression(f"{name}({', '.join('1' * count)})")


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_wrong_numbers_of_arguments_of_filters(name):
    function = FILTERS[name]
    with pytest.raises(ExpressionSyntaxError, match=rf"the filter {name} takes .* argument"):
        compile_expression(f"1 | {name}({', '.join('1' * function.most)})")
    if function.least > 1:
        with pytest.raises(ExpressionSyntaxError, match=f"the filter {name} takes"):
            compile_expression(f"1 | {name}")


def test_what_exists():
    assert sorted(FUNCTIONS) == sorted(
        [
            "string",
            "number",
            "int",
            "bool",
            "type_of",
            "length",
            "keys",
            "values",
            "contains",
            "reversed",
            "sort",
            "unique",
            "flat",
            "zip",
            "range",
            "slice",
            "index_of",
            "count",
            "merge",
            "chunks",
            "join",
            "min",
            "max",
            "sum",
            "abs",
            "floor",
            "ceil",
            "round",
            "lower",
            "upper",
            "trim",
            "split",
            "replace",
            "starts_with",
            "ends_with",
            "match",
            "default",
            "get",
            "to_json",
            "from_json",
            "now",
            "sha256",
            "base64_encode",
            "base64_decode",
        ]
    )
    assert sorted(set(FILTERS) - set(FUNCTIONS)) == sorted(
        ["d", "first", "last", "items", "lines", "title", "capitalize", "truncate", "urlencode", "tojson"]
    )
    assert sorted(set(FUNCTIONS) - set(FILTERS)) == ["match", "now"]
    assert sorted(TESTS) == sorted(
        ["none", "true", "false", "boolean", "number", "integer", "float", "string", "sequence", "mapping"]
    )


@pytest.mark.parametrize(
    "text", ["first([1])", "d(1, 2)", "title('a')", "'a' | match('a')", "1 | now", "1 is odd", "1 is 'string'"]
)
def test_filters_and_tests_are_no_functions(text):
    with pytest.raises(ExpressionError, match=r"unknown|missing"):
        value(text)


def test_error_of_a_pattern_does_not_show_it():
    with pytest.raises(ExpressionError) as raised:
        value("match('(' ~ 'hidden' ~ 'text', 'x')")

    assert str(raised.value).startswith("match: the pattern cannot be used: missing )")
    assert "hiddentext" not in str(raised.value)


def test_errors_of_functions_name_them_and_their_position():
    with pytest.raises(ExpressionError, match=r"^lower: needs a string, not number \(line 2, column 3\)$"):
        value("1 +\n  lower(1)")
    with pytest.raises(ExpressionError, match=r"^truncate: needs an integer, not string \(line 1, column 7\)$"):
        value("'a' | truncate('b')")


@pytest.mark.parametrize(
    "text",
    [
        "string(far)", "range(100001)", "range(-5, 100001)", "sort(more)", "unique(more)", "reversed(more)", "chunks(more, 2)", "zip(more, more)",
        "more + []", "flat([many, many])", "slice(more, 0)", "more[0:]", "long ~ 'a'", "long + 'a'", "join([long, 'a'])", "join(many, long)",
        "replace(long, 'x', 'yy')", "split(long, 'x')", "to_json(long)", "upper(long ~ '')  ~ 'a'", "base64_encode(long)", "long | urlencode ~ '%'",
        "round(1, 400)", "number(long)", "int(long)", "match(long, 'a')", "from_json('[' ~ (many | join(',')) ~ ',1]')",
        "from_json(range(300) | join | replace('0', '[') | replace('1', '['))", "to_json([long, long])", "[long, long] ~ ''",
    ],
)  # fmt: skip
def test_limits(text):
    with pytest.raises(ExpressionError) as raised:
        value(text)

    assert isinstance(raised.value, LimitExceeded) or "JSON" in str(raised.value)


def test_what_just_fits():
    assert value("range(100000) | length") == 100_000
    assert value("long | lower | length") == 1_048_576
    assert value("slice(more, 0, 100000) | length") == 100_000
    assert value("many | join | length") == sum(len(str(number)) for number in range(100_000))
    assert value("many | sort | last") == 99_999


def test_results_are_new():
    expression = compile_expression("[1, [2]]")
    first = expression.evaluate(Scope(roots={}))
    first[1].append(3)

    assert expression.evaluate(Scope(roots={})) == [1, [2]]


def test_now_is_the_present_unless_the_scope_says_otherwise():
    found = datetime.fromisoformat(compile_expression("now()").evaluate(Scope(roots={})))

    assert abs(datetime.now(UTC) - found) < timedelta(minutes=1)
