"""Attempts to get out, or to take all time or memory: each ends in a clear error, soon.

Times are those of this thread, which others on the machine do not lengthen much.
"""

import time

import pytest

from apps.core.expressions import ExpressionError, Scope, compile_expression

SLOWNESS = 50  # of a machine that is busy: only what would never end is to be found; bench/ has the figures


def deep(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


ROOTS = {
    "x": "text", "o": {"a": 1}, "xs": [1, 2], "mega": "ab" * 524_288, "many": list(range(100_000)), "texts": ["y" * 1000] * 1000,
    "deep": deep(10_000), "other": deep(10_000), "wide": [{"k": index} for index in range(50_000)], "big": 10**1000,
    "stones": "é" * 1_000_000, "quotes": '\\"' * 500_000, "open": "[" * 1_000_000, "commas": "[" + "1," * 500_000 + "1]",
    "ab": "ab" * 50_000,
}  # fmt: skip

ESCAPES = [
    "x.__class__", "x.__class__.__mro__[1].__subclasses__()", "''.__class__.__base__", "''['__class__']", "xs.__init__.__globals__", "().__class__",
    "o.__dict__", "x.format.__globals__", "x.__doc__.__len__", "self.__init__", "request", "config", "cycler.__init__.__globals__.os", "lipsum.__globals__",
    "joiner()", "namespace()", "range.__self__", "length.__globals__", "x | attr('__class__')", "xs | map('upper')", "x | format(1)", "x | safe",
    "__import__('os')", "import os", "eval('1')", "exec('1')", "open('/etc/passwd')", "getattr(x, 'upper')", "globals()", "lambda: 1", "x := 1", "x = 1",
    "[y for y in xs]", "x if", "{% for y in xs %}", "{{ x }}", "x; x", "x\\n", "@x", "$x", "`x`", "x!", "x ** 2", "xs[::2]", "x.upper()", "xs.pop()",
    "o.update({'a': 2})", "o.items()", "(x)(x)", "''.join(xs)", "f'{x}'", "r'x'", "b'x'", "0x10", "1_000", "1j", "...", "x[...]", "x?.y", "x && x", "x <> x",
]  # fmt: skip

BOMBS = [
    "'x' * 1000000000", "[0] * 1000000000", "xs * 1000000000", "range(1000000000)", "range(10000000000000000000000)", "range(100000) + range(100000)",
    "mega ~ mega", "mega + mega", "mega | replace('a', mega)", "mega | replace('b', 'bbbbbbbbbb')", "many | join(mega)", "texts | join | replace('y', 'yy')",
    "[mega, mega, mega] | to_json", "[texts, texts] ~ ''", "wide ~ wide ~ wide ~ wide", "mega | split('a')",
    "'9' | replace('9', mega) | number", "int(mega)", "9" * 2000, "big * big", " * ".join(["big"] * 50), " * ".join(["99999999999999999999"] * 350),
    "big * big * big * big * 1.5", "big / 0.5", "1e308 * 10", "1e308 + 1e308", "(-1e308) * 10", "1" + "0" * 400 + " * 1.5", "round(1, 1000000)",
    "round(1.5, -1000000)", "deep | to_json | from_json", "[deep] < [[deep]]", "unique([deep, other, deep]) | sort",
    "from_json(open)", "from_json(quotes)", "from_json(commas)", "from_json('1e999')", "from_json('1' ~ (range(5000) | join))",
    "[many, many, many, many, many] | flat", "zip(many, many) | zip(many)", "many | chunks(1) | chunks(1) | chunks(1)",
    "many | sort | reversed | sort | reversed | sort", "index_of(wide, {'k': -1}) + count(wide, {'k': 1})",
    "match('(' ~ (range(1000) | join) ~ '){1000}', mega)", "match('((a{100}){100}){100}', x)",
    "match('(.{0,100}a){9}b', ab)", "match(mega, x)", "match('a' , stones ~ stones)", "match('[', x)", "match('*', x)",
    "stones | urlencode", "stones | upper | lower | title | capitalize | upper | lower | title | capitalize", "stones | base64_encode",
    "stones | sha256 ~ (stones | base64_encode | base64_decode)", "'" + "a" * 9000 + "'", "(" * 65 + "1" + ")" * 65, "[" * 65 + "]" * 65,
    "{'a':" * 65 + "1" + "}" * 65, "x[" * 65 + "0" + "]" * 65, "length(" * 65 + "x" + ")" * 65, "(" * 5000, "-" * 8000, "not " * 2000, "x" + ".a" * 4000,
    "1" + "+1" * 4000 + "+'a'", "1 if 0 else " * 500 + "x.y", "x" + "|upper" * 1300 + ".a", "xs" + "[0]" * 2500, "mega" + "[:]" * 2500,
    "~".join(["mega"] * 1000), "+".join(["many"] * 1000), "<".join(["deep"] * 1000), "[" + ",".join(["wide"] * 1000) + "] ~ ''",
    " or ".join(["(mega | lower) == 1"] * 300), " or ".join(["'zz' in mega"] * 500), "a is defined" + " is true" * 900,
    "1" + " - (1" * 64 + ")" * 64 + ".a", "not (1 == 1 + 2 * -(" * 32 + "x" + "))" * 32, "(1 or 1 and 1 == 1 + 1 * -" * 60 + "x" + ")" * 60,
]  # fmt: skip

# These have a value, or may have one, and must not take long either.
HEAVY = [
    "mega | lines | join(mega)", "deep == other", "deep < other", "wide in [wide] or wide in [[wide]] or [wide] in [[wide]]", "wide | unique | unique",
    "match('(x+x+)+y', mega)", "match('(a|b)*a(a|b){14}c', ab)", "match('(a|aa)+$', mega)", "match('(a*)*(a*)*b$', ab)", "==".join(["wide"] * 1000),
    " or ".join(["mega in mega ~ ''"] * 300), "many | sort | last", "to_json(wide)", "from_json(to_json(wide)) == wide", "deep ~ ''", "mega | title",
]  # fmt: skip


@pytest.mark.parametrize("text", ESCAPES)
def test_escapes(text):
    began = time.thread_time()
    with pytest.raises(ExpressionError) as raised:
        compile_expression(text).evaluate(Scope(roots=ROOTS))

    assert time.thread_time() - began < 0.1 * SLOWNESS
    assert raised.value.message
    assert raised.value.line == 1


@pytest.mark.parametrize("text", BOMBS, ids=lambda text: text if len(text) < 60 else f"{text[:30]}...{len(text)}")
def test_bombs(text):
    error, seconds = attempted(text)

    assert error is not None
    assert len(str(error)) < 2000
    assert seconds < 0.1 * SLOWNESS


@pytest.mark.parametrize("text", HEAVY, ids=lambda text: text if len(text) < 60 else f"{text[:30]}...{len(text)}")
def test_heavy_expressions(text):
    _, seconds = attempted(text)

    assert seconds < 0.1 * SLOWNESS


def attempted(text):
    began = time.thread_time()
    try:
        compile_expression(text).evaluate(Scope(roots=ROOTS))
        return None, time.thread_time() - began
    except ExpressionError as error:
        return error, time.thread_time() - began
