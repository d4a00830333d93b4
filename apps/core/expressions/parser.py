"""
Read the text of an expression (grammar: workflows.md 6.3), by precedence climbing.

How deep the parser calls itself is bounded: brackets by the lexer, right sides of operators by ``_operators``.
"""

from apps.core.expressions import links, nodes
from apps.core.expressions.errors import ExpressionSyntaxError, listed, shortened
from apps.core.expressions.functions import DEFAULT, FILTERS, FUNCTIONS, TESTS
from apps.core.expressions.lexer import Token, check_size, tokens
from apps.core.expressions.nodes import Member, Node

_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
_MAX_OPERATORS = 200  # under way at the same time: three for each of 64 brackets; each takes some four calls

# Loosest first. `not` stands between `and` and the comparisons.
_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT = range(6)
_PRECEDENCE = {
    "or": _OR, "and": _AND,
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">=", "in", "not", "is"), _COMPARISON),
    **dict.fromkeys(("+", "-", "~"), _SUM),
    **dict.fromkeys(("*", "/", "//", "%"), _PRODUCT),
}  # fmt: skip
_Link = tuple[links.Step, list[Node]]  # a step of a chain, and the parts it is made of

_ALL_TESTS = ("defined", "undefined", *TESTS)


def parse(text: str) -> Node:
    """Return the whole expression. Raises ExpressionSyntaxError, with the offset of the place."""
    check_size(text)
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._token = next(self._tokens)
        self._before = 0  # where the last token taken ends
        self._under_way = 0

    # --- Tokens ---------------------------------------------------------------------------------------------------

    def _take(self) -> Token:
        taken = self._token
        self._before = taken.end
        if taken.kind != "end":
            self._token = next(self._tokens)
        return taken

    def _accept(self, kind: str) -> Token | None:
        return self._take() if self._token.kind == kind else None

    def _expect(self, kind: str, after: str) -> Token:
        if self._token.kind != kind:
            raise self._unexpected(f"; '{kind}' is missing {after}")
        return self._take()

    def _unexpected(self, remark: str = "") -> ExpressionSyntaxError:
        token = self._token
        shown = shortened(self._text[token.start : token.end], 40)
        what = "the expression ends too early" if token.kind == "end" else f"unexpected '{shown}'"
        return ExpressionSyntaxError(f"{what}{remark}", token.start)

    # --- Operators ------------------------------------------------------------------------------------------------

    def whole(self) -> Node:
        if self._token.kind == "end":
            raise ExpressionSyntaxError("the expression is empty", 0)
        node = self._expression()
        if self._token.kind != "end":
            raise self._unexpected()
        return node

    def _expression(self) -> Node:
        """Read ``a if c else b``, or what binds tighter."""
        start = self._token.start
        node = self._operators(_OR)
        branches: list[tuple[Node, Node]] = []
        while self._accept("if"):
            branches.append((node, self._operators(_OR)))
            if not self._accept("else"):
                return nodes.choice(branches, None, start, self._before)
            node = self._operators(_OR)
        return nodes.choice(branches, node, start, self._before) if branches else node

    def _operators(self, loosest: int) -> Node:
        """Read operators of this precedence and tighter ones."""
        self._under_way += 1
        if self._under_way > _MAX_OPERATORS:
            raise ExpressionSyntaxError("the expression is nested too deeply", self._token.start)
        start = self._token.start
        node = self._prefixed(loosest)
        while (precedence := _PRECEDENCE.get(self._token.kind, -1)) >= loosest:
            node = self._chain(node, precedence, start)
        self._under_way -= 1
        return node

    def _chain(self, left: Node, precedence: int, start: int) -> Node:
        """Read the rest of a chain of operators of one precedence."""
        if precedence in (_OR, _AND):
            operator, operands = self._token.kind, [left]
            while self._accept(operator):
                operands.append(self._operators(precedence + 1))
            return nodes.logic(operator, operands, start, self._before)
        rights: list[tuple[str, Node, int]] = []
        while _PRECEDENCE.get(self._token.kind) == precedence:
            if self._token.kind == "is":
                left = nodes.binary(left, rights, start, self._before) if rights else left
                left, rights = self._test(left, start), []
                continue
            token = self._take()
            if token.kind == "not":
                self._expect("in", "after 'not'")
            symbol = "not in" if token.kind == "not" else token.kind
            rights.append((symbol, self._operators(precedence + 1), token.start))
        return nodes.binary(left, rights, start, self._before) if rights else left

    def _test(self, left: Node, start: int) -> Node:
        self._take()
        expected = self._accept("not") is None
        token = self._take()
        if token.kind == "constant" or token.value not in _ALL_TESTS:
            shown = shortened(self._text[token.start : token.end], 40)
            raise ExpressionSyntaxError(f"unknown test '{shown}'; there are {', '.join(_ALL_TESTS)}", token.start)
        return nodes.test(left, token.value, expected=expected, start=start, end=token.end)

    def _prefixed(self, loosest: int) -> Node:
        start, count = self._token.start, 0
        if loosest <= _NOT:
            while self._accept("not"):
                count += 1
            if count:
                operand = self._operators(_COMPARISON)
                return nodes.negation(operand, count, start, self._before)
        while self._accept("-"):
            count += 1
        operand = self._postfixed()
        return nodes.minus(operand, count, start, self._before) if count else operand

    # --- Members, indexes, filters --------------------------------------------------------------------------------

    def _postfixed(self) -> Node:
        """Read a value and all that follows it directly."""
        start = self._token.start
        node = self._primary()
        steps: list[links.Step] = []
        children: list[Node] = []
        while self._token.kind in (".", "[", "|", "("):
            step, parts = self._link(start)
            steps.append(step)
            children += parts
        return links.chain(node, steps, children, start, self._before) if steps else node

    def _link(self, start: int) -> _Link:
        """Read what follows a value: a member, a slice or a filter."""
        if self._token.kind == "|":
            return self._filter()
        if self._token.kind == "(":
            raise self._no_call(start)
        link = self._member()
        if isinstance(link, Member):
            parts = [] if link.index is None else [link.index]
            return links.member_step(self._text, start, link), parts
        return link

    def _path(self, name: Token) -> Node:
        """Read the members of a name, and the slice that ends them."""
        members: list[Member] = []
        link: Member | _Link | None = None
        while self._token.kind in (".", "[") and isinstance(link := self._member(), Member):
            members.append(link)
        end = members[-1].end if members else name.end
        node = links.path(self._text, name.value, members, name.start, end)
        if link is None or isinstance(link, Member):
            return node
        return links.chain(node, [link[0]], link[1], name.start, self._before)

    def _member(self) -> "Member | _Link":
        """Read ``.name``, ``.0``, ``[expression]``, or a slice."""
        if dot := self._accept("."):
            token = self._take()
            if token.kind not in ("name", "index"):
                raise ExpressionSyntaxError("a name or a number is missing after '.'", token.start)
            return Member(token.value, None, dot.start, token.end)
        bracket = self._take()
        first = None if self._token.kind == ":" else self._expression()
        if self._accept(":"):
            last = None if self._token.kind == "]" else self._expression()
            self._expect("]", "after the slice")
            return links.slice_step(first, last, bracket.start), [node for node in (first, last) if node is not None]
        end = self._expect("]", "after the index").end
        if isinstance(first, nodes.Constant) and first.value.__class__ in (str, int):
            return Member(first.value, None, bracket.start, end)
        return Member(None, first, bracket.start, end)

    def _filter(self) -> _Link:
        self._take()
        token = self._expect("name", "after '|'")
        function = FILTERS.get(token.value)
        if function is None:
            message = f"unknown filter '{shortened(token.value)}'; there are {listed(FILTERS)}"
            raise ExpressionSyntaxError(message, token.start)
        arguments = self._arguments() if self._token.kind == "(" else []
        problem = function.arity_problem(len(arguments) + 1, filtered=1)
        if problem is not None:
            raise ExpressionSyntaxError(f"the filter {token.value} {problem}", token.start)
        if function is DEFAULT:
            return links.default_step(arguments[0], arguments[1] if len(arguments) > 1 else None), arguments
        return links.filter_step(token.value, function, arguments, token.start), arguments

    # --- Values ---------------------------------------------------------------------------------------------------

    def _primary(self) -> Node:
        token = self._token
        if token.kind == "name":
            self._take()
            return self._call(token) if self._token.kind == "(" else self._path(token)
        if token.kind == "constant" or token.kind in _CONSTANTS:
            self._take()
            return nodes.constant(_CONSTANTS.get(token.kind, token.value), token.start, token.end)
        if token.kind == "(":
            self._take()
            node = self._expression()
            self._expect(")", "after the expression")
            return node
        if token.kind == "[":
            return self._array()
        if token.kind == "{":
            return self._mapping()
        raise self._unexpected()

    def _array(self) -> Node:
        start = self._take().start
        items: list[Node] = []
        while self._token.kind != "]":
            items.append(self._expression())
            if not self._accept(","):
                break
        return nodes.array(items, start, self._expect("]", "after the array").end)

    def _mapping(self) -> Node:
        start = self._take().start
        entries: list[tuple[Node, Node]] = []
        while self._token.kind != "}":
            key = self._expression()
            self._expect(":", "after the key")
            entries.append((key, self._expression()))
            if not self._accept(","):
                break
        return nodes.mapping(entries, start, self._expect("}", "after the object").end)

    def _call(self, name: Token) -> Node:
        arguments = self._arguments()
        function = FUNCTIONS.get(name.value)
        if function is None:
            return links.call_of_place(name.value, arguments, name.start, self._before)
        problem = function.arity_problem(len(arguments))
        if problem is not None:
            raise ExpressionSyntaxError(f"{name.value}() {problem}", name.start)
        if function is DEFAULT:
            every_false = arguments[2] if len(arguments) > 2 else None
            return links.default_call(arguments[0], arguments[1], every_false, name.start, self._before)
        return links.call(name.value, function, arguments, name.start, self._before)

    def _arguments(self) -> list[Node]:
        self._take()
        arguments: list[Node] = []
        while self._token.kind != ")":
            arguments.append(self._expression())
            if not self._accept(","):
                break
        self._expect(")", "after the arguments")
        return arguments

    def _no_call(self, start: int) -> ExpressionSyntaxError:
        called = self._text[start : self._token.start].strip()[-60:]
        return ExpressionSyntaxError(
            f"'{called}' cannot be called: values have no methods; functions are written length(x) or x | length",
            start,
        )
