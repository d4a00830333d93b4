"""The evaluator against a naive one, over generated expressions; and over arbitrary text and data."""

import importlib.util
import time
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.core.expressions import ExpressionError, ExpressionSyntaxError, Scope, compile_expression, render
from apps.core.expressions.functions import FILTERS, FUNCTIONS, TESTS

spec = importlib.util.spec_from_file_location("expression_oracle", Path(__file__).with_name("oracle.py"))
oracle = importlib.util.module_from_spec(spec)
spec.loader.exec_module(oracle)

ROOTS = {
    "a": 3, "b": -2.5, "s": "abc", "e": "", "n": None, "t": True, "big": 2**70,
    "xs": [1, 2.0, "x", None, [1]], "o": {"k": 1, "j": {"k": "deep"}, "0": "zero"}, "empty": [], "none": {},
}  # fmt: skip
NAMES = ["a", "b", "s", "e", "n", "t", "big", "xs", "o", "empty", "missing"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 12),
    st.sampled_from([0.5, 2.0, 1e3]),
    st.sampled_from(["", "a", "abc", "k", "x'y\\z", "1"]),
)
leaves = st.one_of(
    scalars.map(lambda value: ("value", value)), st.sampled_from(NAMES).map(lambda name: ("name", name))
)
symbols = st.sampled_from([name for name in oracle.LEVELS if name not in ("if", "not", "is", "neg")])


def deeper(trees):
    return st.one_of(
        st.tuples(symbols, trees, trees),
        st.tuples(symbols, trees, trees),
        st.tuples(st.just("neg"), trees),
        st.tuples(st.just("not"), trees),
        st.tuples(st.just("if"), trees, trees, trees),
        st.tuples(
            st.just("is"), trees, st.sampled_from(["defined", "none", "string", "number", "sequence", "mapping"])
        ),
        st.tuples(st.just("list"), st.lists(trees, max_size=3)),
        st.tuples(st.just("dict"), st.lists(st.tuples(st.sampled_from(["k", "j", "a b"]), trees), max_size=2)),
        st.tuples(st.just("member"), trees, st.sampled_from(["k", "j", "__class__", "items", "in", "is"])),
        st.tuples(st.just("index"), trees, trees),
        st.tuples(st.just("filter"), trees, st.just("length"), st.just([])),
        st.tuples(st.just("filter"), trees, st.just("default"), st.lists(trees, min_size=1, max_size=1)),
    )


trees = st.recursive(leaves, deeper, max_leaves=12)


@settings(max_examples=600, deadline=None)
@given(trees)
@example(("==", ("==", ("value", 1), ("value", 1)), ("value", True)))
@example(("-", ("value", 1), ("-", ("value", 2), ("value", 3))))
@example(("neg", ("neg", ("value", 2))))
def test_generated_expressions_agree_with_the_oracle(tree):
    text = oracle.show(tree)
    try:
        expected = repr(oracle.evaluate(tree, ROOTS))
    except oracle.Refused:
        expected = None
    expression = compile_expression(text)
    try:
        found = repr(expression.evaluate(Scope(roots=ROOTS)))
    except ExpressionError:
        found = None

    assert found == expected, text


def refusal(attempt):
    """Return the error it ends in, None when it does not; any other exception passes through."""
    try:
        attempt()
    except ExpressionError as error:
        return error
    return None


# --- Arbitrary text ---------------------------------------------------------------------------------------------

words = st.sampled_from([
    *FUNCTIONS, *FILTERS, *TESTS, *NAMES, "if", "else", "and", "or", "not", "in", "is", "null", "1", "0", "99999999", "1e300", "'x'", "''",
    "'[[1,2],{}]'", "(", ")", "[", "]", "{", "}", ",", ":", ".", "|", "+", "-", "*", "/", "//", "%", "~", "==", "<", "!", "\\", "'", '"', "{{", "}}",
])  # fmt: skip
texts = st.one_of(
    st.text(max_size=80), st.lists(words, max_size=40).map(" ".join), st.lists(words, max_size=40).map("".join)
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=500, deadline=None)
@given(texts)
def test_arbitrary_text_ends_in_an_expression_or_a_syntax_error(text):
    began = time.thread_time()
    error = refusal(lambda: compile_expression(text))

    if error is not None:
        assert isinstance(error, ExpressionSyntaxError)
        assert 1 <= error.line <= text.count("\n") + 1
        assert 1 <= error.column <= len(text) + 1
    assert time.thread_time() - began < 0.5


@settings(max_examples=500, deadline=None)
@given(texts, json_values, st.booleans())
def test_arbitrary_text_and_data_end_in_a_value_or_an_error(text, data, lenient):
    scope = Scope(roots={**ROOTS, "xs": data, "s": data, "a": data})
    began = time.thread_time()
    refusal(lambda: compile_expression(text).evaluate(scope, lenient=lenient))

    assert time.thread_time() - began < 1


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted({**FUNCTIONS, **FILTERS})), st.lists(json_values, min_size=3, max_size=3))
def test_every_function_takes_any_data(name, data):
    function = {**FUNCTIONS, **FILTERS}[name]
    scope = Scope(roots=dict(zip("xyz", data, strict=True)))
    for count in range(max(1, function.least), function.most + 1):
        arguments = ", ".join("xyz"[1:count])
        for text in (f"{name}({', '.join('xyz'[:count])})", f"x | {name}({arguments})"):
            refusal(lambda text=text: compile_expression(text).evaluate(scope))


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
    )
)
def test_lenient_rendering_never_raises(document):
    render(document, Scope(roots=ROOTS), lenient=True)
