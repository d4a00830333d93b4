"""How a decision shows what it saw: values cut to a size, secrets hidden, reasons as sentences."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.expressions import Expression, ExpressionError, Operand, Scope
from apps.core.expressions.values import measure, write_json
from apps.rules.criteria import Entry

Place = tuple[str | int, ...]

HIDDEN = "***"
MAX_SHOWN = 1024  # characters of one value
_MAX_SHOWN_TOGETHER = 64 * 1024  # of all values of a trace; many conditions show less of each
_MAX_IN_SENTENCE = 200
_PAYLOADS = (("event", "payload"), ("trigger", "payload"), ("trigger", "data"))

# What an operator says when it does not hold, and when it does.
_SAYS = {
    "equals": ("is not equal to", "is equal to"), "==": ("is not equal to", "is equal to"),
    "not_equals": ("is equal to", "is not equal to"), "!=": ("is equal to", "is not equal to"),
    "contains": ("does not contain", "contains"),
    "gt": ("is not >", "is >"), ">": ("is not >", "is >"), "gte": ("is not >=", "is >="), ">=": ("is not >=", "is >="),
    "lt": ("is not <", "is <"), "<": ("is not <", "is <"), "lte": ("is not <=", "is <="), "<=": ("is not <=", "is <="),
    "in": ("is not in", "is in"), "not_in": ("is in", "is not in"), "not in": ("is in", "is not in"),
    "starts_with": ("does not start with", "starts with"), "ends_with": ("does not end with", "ends with"),
    "matches": ("does not match", "matches"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """Who looks at values: knows which places of the payload are secret, and how much of each value is shown."""

    secrets: Collection[Place] = ()
    most: int = MAX_SHOWN

    @staticmethod
    def limit_for(conditions: int) -> int:
        """Return how many characters of each value are shown in a trace of so many conditions."""
        return max(64, min(MAX_SHOWN, _MAX_SHOWN_TOGETHER // max(1, conditions)))

    def of_payload(self, value: Any, place: Place) -> Any:
        """Return the value at a place of the payload as it is shown."""
        return shown(hidden(value, place, self.secrets), self.most)

    def of_operand(self, operand: Operand) -> Any:
        """Return what an expression read as it is shown."""
        places = [(*payload, *secret) for payload in _PAYLOADS for secret in self.secrets]
        return shown(hidden(operand.value, operand.keys, places), self.most)


def hidden(value: Any, place: Place, secrets: Collection[Place]) -> Any:
    """Return the value that stands at a place, with stars for the secret places in it or around it."""
    inside = []
    for secret in secrets:
        if place[: len(secret)] == secret:
            return HIDDEN
        if secret[: len(place)] == place:
            inside.append(secret[len(place) :])
    return _masked(value, inside) if inside else value


def _masked(value: Any, paths: Collection[Place]) -> Any:
    """Return a copy with stars at the paths; paths that lead nowhere change nothing."""
    if () in paths:
        return HIDDEN
    below: dict[str | int, list[Place]] = {}
    for first, *rest in paths:
        below.setdefault(first, []).append(tuple(rest))
    if isinstance(value, dict):
        return {key: _masked(inner, below[key]) if key in below else inner for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, below[index]) if index in below else inner for index, inner in enumerate(value)]
    return value


def shown(value: Any, most: int = MAX_SHOWN) -> Any:
    """Return the value, or the beginning of its text (of its JSON when it is none) when that is too long."""
    if isinstance(value, str):
        return value if len(value) <= most else f"{value[:most]}..."
    try:
        size, depth = measure(value, most)
    except ExpressionError:
        return "(not shown)"
    if size <= most and depth <= 100:
        return value
    return f"{_beginning(value, most)}..."


def _beginning(value: Any, most: int) -> str:
    text = ""
    for piece in write_json(value):
        text += piece[:most]
        if len(text) >= most:
            break
    return text[:most]


def written(value: Any) -> str:
    """Return a value, cut already, as it stands in a sentence: as JSON, and shorter still."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_IN_SENTENCE else f"{text[:_MAX_IN_SENTENCE]}..."


# --- Reasons ----------------------------------------------------------------------------------------------------


def entry_reason(entry: Entry, actual: Any, *, present: bool, holds: bool) -> str:
    """Return why an entry holds or does not: ``free_mb: 812 is not equal to 0``."""
    if not present:
        return f"{entry.field} is missing"
    found = f"{entry.field}: {written(actual)}"
    if entry.operator in ("exists", "not_exists"):
        return f"{found} is there"
    if entry.operator not in _SAYS:
        return f"{found} is not looked at: unknown operator '{entry.operator}'"
    return f"{found} {_SAYS[entry.operator][holds]} {written(shown(entry.value))}"


def expression_reason(expression: Expression, scope: Scope, viewer: Viewer, *, holds: bool) -> str:
    """Return why an expression holds or does not: ``event.payload.level: 3 is not > 5``."""
    operator, parts = expression.operator, expression.parts
    if operator in _SAYS:
        left, right = (_Side(part, scope, viewer) for part in parts)
        return f"{left.before()} {_SAYS[operator][holds]} {right.after()}"
    if operator.startswith("is "):
        return _test_reason(operator, _Side(parts[0], scope, viewer), holds=holds)
    if operator == "not":
        return expression_reason(parts[0], scope, viewer, holds=not holds)
    if expression.is_path:
        return f"{_Side(expression, scope, viewer).before()} counts as {'true' if holds else 'false'}"
    return f"{_quoted(expression.text)} is {'true' if holds else 'false'}"


def _test_reason(operator: str, side: "_Side", *, holds: bool) -> str:
    expected, name = not operator.startswith("is not "), operator.rsplit(" ", 1)[-1]
    says = "is" if expected == holds else "is not"
    return f"{side.text if 'defined' in name else side.before()} {says} {name}"


@dataclass(frozen=True)
class _Side:
    """One side of a comparison, as it stands in a sentence."""

    expression: Expression
    scope: Scope
    viewer: Viewer

    @property
    def text(self) -> str:
        return _quoted(self.expression.text, quotes="")

    def before(self) -> str:
        value = self._value()
        return value or self.text if self.expression.is_constant or not value else f"{self.text}: {value}"

    def after(self) -> str:
        value = self._value()
        return value or self.text if self.expression.is_constant or not value else f"{value} ({self.text})"

    def _value(self) -> str:
        """Return the value in writing; empty when a secret may be part of it."""
        if self.expression.is_path:
            return written(self.viewer.of_operand(self.expression.operands(self.scope)[0]))
        if self.viewer.secrets and not self.expression.is_constant:
            return ""
        try:
            return written(shown(self.expression.evaluate(self.scope)))
        except ExpressionError:
            return ""


def _quoted(text: str, quotes: str = "'") -> str:
    text = " ".join(text.split())
    cut = text if len(text) <= _MAX_IN_SENTENCE else f"{text[:_MAX_IN_SENTENCE]}..."
    return f"{quotes}{cut}{quotes}"


def together(reasons: Sequence[str]) -> str:
    """Return one sentence for several things none of which holds."""
    if not reasons:
        return "any of no conditions never holds"
    if len(reasons) == 1:
        return reasons[0]
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return f"none of these holds: {'; '.join(reasons[:3])}{more}"
