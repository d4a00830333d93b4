"""Each line of workflows.md 6.8, and the meaning that 6.4 gives to operators and missing values."""

import time

import pytest

from apps.core.expressions import (
    ExpressionError,
    ExpressionSyntaxError,
    Lazy,
    Scope,
    UndefinedValue,
    compile_expression,
)

DATA = {
    "x": {"a": 1, "items": "mine", "__class__": "data", "if": 2, "0": "zero", "größe": 7},
    "xs": [1, 2, 3],
    "s": "text",
    "long": "ab" * 300_000,
    "d": {"k": 1},
    "big": 2**64 + 1,
    "huge": 2**130 + 1,
    "one": 1.0,
    "n": None,
    "hosts": [{"name": "a", "tags": ["x", "y"]}, {"name": "b", "tags": []}],
}


def value(text, lenient=False, **roots):
    return compile_expression(text).evaluate(Scope(roots={**DATA, **roots}), lenient=lenient)


def error(text, **options):
    with pytest.raises(ExpressionError) as raised:
        value(text, **options)
    return raised.value


def same(left, right):
    """Equal and of the same types, which == does not tell of 1, 1.0 and True."""
    return repr(left) == repr(right)


def test_null_equals_none():
    assert value("null == none") is True


@pytest.mark.parametrize(
    "text, named, column",
    [
        ("missing", "unknown name 'missing'", 1),
        (" xs[99]", "'xs[99]' is undefined", 2),
        ("1 if false", "the 'if' without 'else' is false", 1),
        ("x.a + x.b.c", "'x.b' is undefined", 7),
        ("[1,\n missing]", "unknown name 'missing'", 2),
    ],
)
def test_what_is_missing_is_named_with_its_position(text, named, column):
    found = error(text)

    assert isinstance(found, UndefinedValue)
    assert (found.message[: len(named)], found.line, found.column) == (named, 1 + text.count("\n"), column)
    assert f"(line {found.line}, column {column})" in str(found)


@pytest.mark.parametrize("text", ["xs.append(1)", "d.clear()", "s.format(1)", "x['a'](1)", "(xs)(1)", "'a'(1)"])
def test_there_are_no_methods(text):
    assert isinstance(error(text), ExpressionSyntaxError)
    assert "cannot be called" in error(text).message


@pytest.mark.parametrize("text", ["d.__class__", "d['__class__']", "xs.__len__", "s.__class__", "s.upper", "d.items"])
def test_names_reach_only_data(text):
    assert isinstance(error(text), UndefinedValue)


def test_names_in_dots_are_ordinary_keys():
    assert [value(text) for text in ("x.__class__", "x['__class__']", "x.items", "x.if", "x.0", "x.größe")] == [
        "data", "data", "mine", 2, "zero", 7,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text, symbol",
    [
        ("'10' > 5", "'>'"),
        ("none < 1", "'<'"),
        ("'a' < 1", "'<'"),
        ("5 in 'a5'", "'in'"),
        ("1 < true", "'<'"),
        ("{} < {}", "'<'"),
        ("[1] < [null]", "'<'"),
        ("1 in {'1': 1}", "'in'"),
        ("1 in 1", "'in'"),
        ("'a' in null", "'in'"),
        ("1 < 2 < 3", "'<'"),
        ("1 + '1'", "'+'"),
        ("'1' + 1", "'+'"),
        ("true + 1", "'+'"),
        ("[1] + 1", "'+'"),
        ("{} + {}", "'+'"),
        ("'a' * 2", "'*'"),
        ("2 * 'a'", "'*'"),
        ("[0] * 2", "'*'"),
        ("'%s' % 1", "'%'"),
        ("null - 1", "'-'"),
        ("-'1'", "'-'"),
        ("-true", "'-'"),
    ],
)
def test_types_that_do_not_fit_are_errors(text, symbol):
    found = error(text)

    assert found.message.startswith(f"{symbol} needs ")
    bare = symbol.strip("'")
    assert found.column == (1 if text.startswith("-") else text.rfind(f" {bare} ") + 2)


def test_nothing_is_coerced_in_equality():
    assert [value(text) for text in ("true == 1", "'1' == 1", "null == 0", "[1] == ['1']", "{} == []")] == [False] * 5
    assert [value(text) for text in ("true != 1", "1 == 1.0", "[1, {'a': 2}] == [1.0, {'a': 2.0}]")] == [True] * 3
    assert value("[true] == [1]") is False
    assert value("x == x and xs == [1, 2, 3] and d != {'k': 2} and d != {'l': 1}") is True


def test_text_forms():
    assert value("'a' ~ none") == "a"
    assert value("['x', none] ~ ''") == '["x",null]'
    assert value("[none] | join") == ""
    assert value("[1.0, true, null, 'é\"', {'a': [1]}] | join('|')") == '1.0|true||é"|{"a":[1]}'
    assert value("1.5 ~ false ~ [1.0, true, 'é\"']") == '1.5false[1.0,true,"é\\""]'


@pytest.mark.parametrize(
    "text",
    [
        "'x' * 100000000",
        "[0] * 100000000",
        "long | replace('a', long)",
        "range(1000000000)",
        "range(-1000000000, 1000000000)",
        "long ~ long",
        "[long, long] | join",
        "long + long",
        "long | split('') | join(long)",
    ],
)
def test_large_results_are_refused_before_they_are_built(text):
    expression, scope = compile_expression(text), Scope(roots=DATA)
    with pytest.raises(ExpressionError):  # once before, so that nothing is loaded while the clock runs
        expression.evaluate(scope)

    began = time.thread_time()
    for _ in range(5):
        with pytest.raises(ExpressionError):
            expression.evaluate(scope)

    assert (time.thread_time() - began) / 5 < 0.5  # a millisecond; not the minutes that building would take


def test_large_integers_of_the_data_are_unchanged():
    assert [value("big"), value("huge"), value("[huge][0]"), value("huge ~ ''")] == [
        2**64 + 1, 2**130 + 1, 2**130 + 1, str(2**130 + 1),
    ]  # fmt: skip
    assert value("huge + 1 == huge or huge == huge - 1") is False


@pytest.mark.parametrize(
    "text", ["(" * 10_000, "[" * 5000, "a" * 1_000_000, "1 + " * 300_000, "{" * 10_000, "é" * 5000]
)
def test_large_texts_are_refused_before_they_are_read(text):
    began = time.thread_time()
    with pytest.raises(ExpressionSyntaxError):
        compile_expression(text)

    assert time.thread_time() - began < 1  # a millisecond; not the minutes that reading would take


@pytest.mark.parametrize("text", ["debug()", "self", "loop", "cycler", "self.x", "range.x", "lipsum()"])
def test_what_template_libraries_know_is_unknown(text):
    assert error(text).message.startswith("unknown name '")


def test_unknown_names_list_what_there_is():
    assert "abs, base64_decode" in error("debug()").message
    assert "upper, urlencode" in error("s | shout").message
    assert "defined, undefined, none, true" in error("s is funny").message
    assert "known here: big, d, " in error("missing").message


# --- 6.4 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["null", "false", "0", "0.0", "''", "[]", "{}"])
def test_what_counts_as_false(text):
    assert value(f"not {text}") is True
    assert same(value(f"{text} or 'other'"), "other")
    assert same(value(f"{text} and 1/0"), value(text))


@pytest.mark.parametrize("text", ["true", "1", "-1", "0.1", "'0'", "'false'", "[0]", "{'a': 0}"])
def test_what_counts_as_true(text):
    assert value(f"not {text}") is False
    assert same(value(f"{text} or 1/0"), value(text))
    assert same(value(f"{text} and 'other'"), "other")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("7 / 2", 3.5), ("4 / 2", 2), ("4.0 / 2", 2.0), ("-7 / 2", -3.5), ("7 // 2", 3), ("-7 // 2", -4),
        ("-7 % 3", 2), ("7 % -3", -2), ("7.5 % 2", 1.5), ("-0.5 % 2", 1.5), ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9),
        ("8 - 4 - 2", 2), ("16 / 4 / 2", 2), ("2 - -2", 4), ("- - 2", 2), ("-2 | abs", -2), ("(-2) | abs", 2),
        ("1 + 2 ~ 3", "33"), ("'a' ~ 1 ~ null", "a1"), ("'a' + 'b'", "ab"),
        ("[1] + ['a']", [1, "a"]), ("0.1 + 0.2", 0.1 + 0.2), ("1e3", 1000.0), ("10 // 0.3", 33.0),
        ("9007199254740993 + 0", 9007199254740993), ("9007199254740993 == 9007199254740992.0", False),
        ("1 < 2", True), ("2 <= 1.5", False), ("'B' < 'a'", True), ("'Z' < 'é'", True), ("'\uffff' < '\U00010000'", True),
        ("[1, 2] < [1, 3]", True), ("[1] < [1, 0]", True), ("[] < [1]", True), ("[1, 'a'] < [1, 'b']", True),
        ("[[1], 2] >= [[1], 2]", True), ("[null, 1] < [null, 2]", True), ("[2] <= [1, 9]", False),
        ("1 in [true, 1.0]", True), ("true in [1]", False), ("null in [null]", True), ("[1] in [[1]]", True),
        ("'k' in d", True), ("'v' in d", False), ("'ex' in s", True), ("'' in s", True), ("4 not in xs", True),
        ("not 4 in xs", True), ("1 == 1 == true", True), ("'a' in 'abc' == true", True), ("x.a is defined == true", True),
        ("xs[0]", 1), ("xs[-1]", 3), ("xs.0", 1), ("xs.2", 3), ("hosts.0.tags.1", "y"), ("hosts[0]['tags'][-2]", "x"),
        ("xs[1:]", [2, 3]), ("xs[:-1]", [1, 2]), ("xs[:]", [1, 2, 3]), ("xs[5:9]", []), ("xs[2:1]", []), ("xs[-99:1]", [1]),
        ("s[0]", "t"), ("s[-1]", "t"), ("s[1:3]", "ex"), ("s.1", "e"), ("hosts[xs[0]].name", "b"),
        ("hosts[1:][0].name", "b"), ("[1, 2][1]", 2), ("{'a': 1}.a", 1), ("{'a': 1}['a']", 1), ("'abc'[1]", "b"),
        ("{'a': 1,}", {"a": 1}), ("[1, 2,]", [1, 2]), ("{'a' ~ 1: 2}", {"a1": 2}), ("{'a': 1, 'a': 2}", {"a": 2}),
        ("1 if true else 2", 1), ("1 if 0 else 2 if 0 else 3", 3), ("(1 if 0 else 2) + 1", 3), ("1 if 1 or 1/0 else 2", 1),
        ("[1 if false else 2]", [2]), ("not not 1", True), ("not 1 == 2", True), ("not 1 and 0", False),
        ("xs | length > 2", True), ("xs | first + 1", 2), ("hosts | first.name", "a"), ("(hosts | first).name", "a"),
        ('"it\'s"', "it's"), ("'a\\n\\t\\\\\\'\\\"\\r'", "a\n\t\\'\"\r"), ("'\\u00e9\\ud83d\\ude00'", "é😀"),
        ("'\\d+'", "\\d+"), ("'two\nlines'", "two\nlines"), ("n", None), ("x.a is not none", True),
    ],
)  # fmt: skip
def test_operators(text, expected):
    assert same(value(text), expected)


@pytest.mark.parametrize("text", ["1 ~ 2 + 3", "'it''s'", "2 - 'a' ~ 1"])
def test_what_is_read_from_left_to_right(text):
    error(text)


@pytest.mark.parametrize("text", ["1 / 0", "1 // 0", "1 % 0", "1.5 / 0.0", "0 / 0"])
def test_division_by_zero(text):
    assert error(text).message == "division by zero"


@pytest.mark.parametrize(
    "text", ["xs['a']", "xs[3]", "xs[-4]", "s.99", "d[0]", "d.zz", "n.a", "n[0]", "(1).a", "one.a"]
)
def test_what_is_not_there_is_undefined(text):
    assert isinstance(error(text), UndefinedValue)
    assert value(f"{text} is defined") is False
    assert value(f"{text} is undefined") is True
    assert value(f"{text} is not defined") is True
    assert value(f"{text} | default('d')") == "d"
    assert value(f"{text} | d('d')") == "d"
    assert value(f"default({text}, 'd')") == "d"


@pytest.mark.parametrize(
    "text",
    [
        "Q == null", "Q or 1", "not Q", "Q ~ ''", "[Q]", "{'a': Q}", "Q + 1", "-Q", "Q in xs", "1 in Q", "Q.b",
        "Q[0]", "Q[0:1]", "xs[Q]", "Q is none", "Q is string", "upper(Q)", "Q | length", "1 if Q else 2", "Q < 1",
        "get(Q, 'a', 1)", "xs[Q:]", "Q | items",
    ],
)  # fmt: skip
def test_nothing_else_is_done_with_undefined(text):
    assert isinstance(error(text.replace("Q", "d.zz")), UndefinedValue)


@pytest.mark.parametrize(
    "text", ["xs[1.0]", "xs[true]", "xs[null]", "xs[[0]]", "xs['0':]", "xs[:1.5]", "d['a':]", "5[0:1]"]
)
def test_indexes_of_other_types_are_errors(text):
    found = error(text)

    assert not isinstance(found, UndefinedValue)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("q == null", True), ("q == 1", False), ("q or 1", 1), ("not q", True), ("'a' ~ q", "a"), ("[q, 1]", [None, 1]),
        ("{'a': q}", {"a": None}), ("q.b.c | default(1)", 1), ("q[0][1:2].x | d(1)", 1), ("xs[q] | d(1)", 1),
        ("q in xs", False), ("1 if q else 2", 2), ("1 if q > 5 else 2", 2), ("(q + 1) | d(0)", 0), ("upper(q) | d('x')", "x"),
        ("q | upper | d('x')", "x"), ("get(q, 'a', 5)", 5), ("q is defined", False), ("q is none", True), ("-q | d(1)", -1), ("(-q) | d(1)", 1),
        ("q | default(missing, true) | d(1)", 1),
    ],
)  # fmt: skip
def test_missing_values_in_lenient_places(text, expected):
    assert same(value(text, lenient=True), expected)


@pytest.mark.parametrize("text", ["q", "q.a", "q + 1", "q | upper", "xs[9].a", "q or q"])
def test_nothing_found_is_an_error_for_the_caller_in_lenient_places_too(text):
    with pytest.raises(UndefinedValue):
        value(text, lenient=True)


def test_lenient_is_lenient_with_missing_values_only():
    for text in ("1 / 0", "'a' < 1", "upper(1)", "foo()"):
        with pytest.raises(ExpressionError):
            value(text, lenient=True)


def test_a_default_is_evaluated_only_when_it_is_needed():
    assert value("x.a | default(1 / 0)") == 1
    assert value("default(x.a, missing)") == 1
    assert value("n | default(1)") is None
    assert value("n | default(1, true)") == 1
    assert value("'' | d('x', true) ~ (0 | d(5, false))") == "x0"
    assert value("default(n, 2, true)") == 2


def test_lazy_roots_are_made_once_and_only_when_read():
    made = []
    pack = Lazy(lambda: made.append(1) or {"config": {"a": 1}})

    assert value("x.a", pack=pack) == 1
    assert made == []
    assert value("pack.config.a + pack.config['a'] + pack['config'].a", pack=pack) == 3
    assert value("pack", pack=pack) == {"config": {"a": 1}}
    assert made == [1]


def test_what_a_lazy_root_raises_passes_through():
    def fail():
        raise OSError("the database is gone")

    with pytest.raises(OSError, match="gone"):
        value("pack.config", pack=Lazy(fail))


def test_functions_of_the_place():
    scope = Scope(roots={}, functions={"result": lambda: {"x": [5]}, "succeeded": lambda: True})

    assert compile_expression("succeeded() and result().x[0] == 5").evaluate(scope) is True
    with pytest.raises(ExpressionError, match=r"result\(\) takes 0 arguments, not 1"):
        compile_expression("result(1)").evaluate(scope)
    with pytest.raises(ExpressionError, match=r"unknown name 'failed'.* result, .* succeeded"):
        compile_expression("true or failed()").evaluate(scope)


def test_numbers_that_are_not_finite():
    assert "finite" in error("f", f=float("nan")).message
    assert "finite" in error("f * 10", f=1e308).message
    assert "finite" in error("f - f", f=float("inf")).message
    assert "finite" in error("f ~ ''", f=[float("inf")]).message
    assert "finite" in error("i * 1.5", i=10**1000).message


@pytest.mark.parametrize(
    "text",
    [
        "(" * 64 + "1" + ")" * 64,
        "[" * 64 + "]" * 64,
        "(1 + " * 64 + "1" + ")" * 64,
        "length(" * 1 + "[" * 63 + "]" * 63 + ")",
    ],
)
def test_brackets_may_be_nested_64_deep(text):
    value(text)


@pytest.mark.parametrize("depth", [0, 500, 750, 850])
def test_a_caller_deep_in_its_own_calls_gets_a_value_or_an_error(depth):
    def under(levels, text):
        return under(levels - 1, text) if levels else compile_expression(text).evaluate(Scope(roots={}))

    text = f"{'(1 + ' * 64}1{')' * 64} + {depth}"  # not read before, for each depth
    try:
        assert under(depth, text) == 65 + depth
    except ExpressionError as error:
        found = str(error)
    else:
        found = ""

    assert "nested too deeply" in found or not found
    assert not (found and depth == 0)
