"""
The expression language of the whole product (workflows.md section 6). Pure: plain JSON in, plain JSON out.

One expression::

    scope = Scope(roots={"event": {"payload": {"count": 3}}, "pack": Lazy(lambda: {"config": read_it()})})
    expression = compile_expression("event.payload.count >= 3")     # cached; ExpressionSyntaxError
    expression.evaluate(scope)                                      # True; any other ExpressionError
    expression.operands(scope)                                      # [Operand(path="event.payload.count", value=3)]
    [part.text for part in compile_expression("a and b").parts]     # ["a", "b"], operator "and"

Names that are missing are errors; with ``lenient=True`` they may be used on the way, and what is made of them is
missing too. A whole expression that finds nothing raises UndefinedValue in both cases: the caller says what stands
for it. Functions of a place (``result()`` in workflows) are ``Scope(functions={"result": lambda: view})``.

Templates in a document of any shape::

    render({"text": "Disk {{ event.payload.device }}", "n": "{{ event.payload.count }}"}, scope).value   # strict
    render(document, scope, lenient=True).warnings       # never raises, except DocumentTooLarge

What comes back may share parts with the roots: do not change it.
"""

from apps.core.expressions.budget import MAX_STEPS
from apps.core.expressions.documents import (
    DocumentTooLarge,
    Rendered,
    Rendering,
    TemplateWarning,
    render,
    render_with,
)
from apps.core.expressions.errors import ExpressionError, ExpressionSyntaxError, LimitExceeded, UndefinedValue
from apps.core.expressions.expression import Expression, Name, Operand, Read, compile_expression
from apps.core.expressions.scope import Lazy, Scope
from apps.core.expressions.templates import Piece, Template, inner_expression, parse_template
from apps.core.expressions.values import NOTHING, member_of

__all__ = [
    "MAX_STEPS",
    "NOTHING",
    "DocumentTooLarge",
    "Expression",
    "ExpressionError",
    "ExpressionSyntaxError",
    "Lazy",
    "LimitExceeded",
    "Name",
    "Operand",
    "Piece",
    "Read",
    "Rendered",
    "Rendering",
    "Scope",
    "Template",
    "TemplateWarning",
    "UndefinedValue",
    "compile_expression",
    "inner_expression",
    "member_of",
    "parse_template",
    "render",
    "render_with",
]
