"""What may stand in selector, tolerations and affinity (execution.md section 4). Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

TOLERATION_OPERATORS = ("equal", "exists")
TAINT_EFFECTS = ("no_schedule", "prefer_no_schedule")
EXPRESSION_OPERATORS = ("in", "not_in", "exists", "does_not_exist")


def check_placement(selector: Any, tolerations: Any, affinity: Any) -> list[str]:
    """Return what is wrong with a placement, nothing when it is fine; None for a part means it is not given."""
    problems: list[str] = []
    if selector is not None:
        problems.extend(_labels("worker_selector", selector))
    if tolerations is not None:
        problems.extend(_tolerations(tolerations))
    if affinity is not None:
        problems.extend(_affinity(affinity))
    return problems


def _labels(place: str, labels: Any) -> Iterator[str]:
    if not isinstance(labels, Mapping):
        yield f"{place} must be an object of labels"
        return
    for name, value in labels.items():
        if not name:
            yield f"{place} has a label without a name"
        if not isinstance(value, str | int | float | bool):
            yield f"{place}.{name} must be a text"


def _tolerations(tolerations: Any) -> Iterator[str]:
    if not isinstance(tolerations, list):
        yield "worker_tolerations must be a list"
        return
    for index, toleration in enumerate(tolerations):
        yield from _toleration(f"worker_tolerations[{index}]", toleration)


def _toleration(place: str, toleration: Any) -> Iterator[str]:
    if not isinstance(toleration, Mapping):
        yield f"{place} must be an object with a key"
        return
    yield from _unknown(place, toleration, ("key", "operator", "value", "effect"))
    if not isinstance(toleration.get("key"), str) or not toleration["key"]:
        yield f"{place}.key must be a text"
    operator = toleration.get("operator")
    if operator is not None and operator not in TOLERATION_OPERATORS:
        yield f"{place}.operator must be one of {', '.join(TOLERATION_OPERATORS)}"
    if not isinstance(toleration.get("value"), str | int | float | bool | None):
        yield f"{place}.value must be a text"
    effect = toleration.get("effect")
    if effect is not None and effect not in TAINT_EFFECTS:
        yield f"{place}.effect must be one of {', '.join(TAINT_EFFECTS)}"


def _affinity(affinity: Any) -> Iterator[str]:
    if not isinstance(affinity, Mapping):
        yield "worker_affinity must be an object"
        return
    yield from _unknown("worker_affinity", affinity, ("required", "preferred", "anti_affinity"))
    for name in ("required", "anti_affinity"):
        for place, term in _entries(f"worker_affinity.{name}", affinity.get(name)):
            yield from _term(place, term) if place else (term,)
    for place, preference in _entries("worker_affinity.preferred", affinity.get("preferred")):
        yield from _preference(place, preference) if place else (preference,)


def _entries(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield (place, entry) of a list; ("", problem) when it is none."""
    if value is None:
        return
    if not isinstance(value, list):
        yield "", f"{place} must be a list"
        return
    for index, entry in enumerate(value):
        yield f"{place}[{index}]", entry


def _preference(place: str, preference: Any) -> Iterator[str]:
    if not isinstance(preference, Mapping):
        yield f"{place} must be an object with weight and preference"
        return
    yield from _unknown(place, preference, ("weight", "preference"))
    weight = preference.get("weight")
    if not isinstance(weight, int) or isinstance(weight, bool) or not 1 <= weight <= 100:
        yield f"{place}.weight must be a whole number from 1 to 100"
    yield from _term(f"{place}.preference", preference.get("preference"))


def _term(place: str, term: Any) -> Iterator[str]:
    if not isinstance(term, Mapping):
        yield f"{place} must be an object with match_labels or match_expressions"
        return
    yield from _unknown(place, term, ("match_labels", "match_expressions"))
    if term.get("match_labels") is not None:
        yield from _labels(f"{place}.match_labels", term["match_labels"])
    for inner, expression in _entries(f"{place}.match_expressions", term.get("match_expressions")):
        yield from _expression(inner, expression) if inner else (expression,)


def _expression(place: str, expression: Any) -> Iterator[str]:
    if not isinstance(expression, Mapping):
        yield f"{place} must be an object with key and operator"
        return
    yield from _unknown(place, expression, ("key", "operator", "values"))
    if not isinstance(expression.get("key"), str) or not expression["key"]:
        yield f"{place}.key must be a text"
    operator, values = expression.get("operator"), expression.get("values")
    if operator not in EXPRESSION_OPERATORS:
        yield f"{place}.operator must be one of {', '.join(EXPRESSION_OPERATORS)}"
    if values is not None and not (isinstance(values, list) and all(isinstance(v, str | int | float) for v in values)):
        yield f"{place}.values must be a list of texts"
    if operator in ("in", "not_in") and not values:
        yield f"{place}.values must not be empty"


def _unknown(place: str, value: Mapping[Any, Any], known: tuple[str, ...]) -> Iterator[str]:
    for key in value:
        if key not in known:
            yield f"{place} has no key '{key}'"
