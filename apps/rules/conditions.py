"""
Decide whether the conditions of a rule hold for an event, and say by what (events.md sections 4 and 7). Pure.

The engine, the tester and the back-test all come here.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from apps.core.expressions import (
    MAX_STEPS,
    NOTHING,
    Expression,
    ExpressionError,
    Scope,
    compile_expression,
    member_of,
)
from apps.core.expressions.budget import Run
from apps.core.expressions.patterns import search
from apps.rules import traces
from apps.rules.comparisons import entry_holds
from apps.rules.criteria import (
    OPERATORS,
    Criterion,
    Entry,
    Formula,
    Group,
    MalformedConditions,
    TooManyConditions,
    check_formula,
    conditions_problem,
    leaves,
    read_criteria,
    warning,
)
from apps.rules.traces import Place, Viewer

ROOTS = frozenset({"event", "pack", "system"})  # what an expression may read
MATCHED, NOT_MATCHED, ERROR = "matched", "not_matched", "error"

_MAX_STEPS_TOGETHER = 1_000_000  # of all conditions of a rule; one expression may take a tenth

Step = dict[str, Any]

__all__ = ["ROOTS", "Verdict", "check_conditions", "conditions_problem", "evaluate_conditions"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """
    What the conditions say of one event. ``outcome`` is matched, not_matched or error.

    ``steps`` is the trace, ``reason`` one sentence for people when it does not match, ``error`` what could not be
    evaluated.
    """

    matched: bool
    outcome: str
    steps: Sequence[Step] = ()
    reason: str | None = None
    error: str | None = None


def evaluate_conditions(conditions: Any, *, payload: Any, scope: Scope, secrets: Collection[Place] = ()) -> Verdict:
    """
    Return whether the conditions hold, with the trace.

    ``scope`` has the roots event, pack and system; entries of lists read the payload alone. ``secrets`` are the places
    of the payload whose values no trace and no reason shows: ``schemas.secret_paths(out_schema, payload)``. An event
    without payload matches whatever the conditions are. Never raises for what is wrong with conditions or payload.
    """
    if payload is None:
        return _always()
    try:
        group = read_criteria(conditions)
    except TooManyConditions as error:
        text = f"{error.path}: {error.message}"
        return Verdict(matched=False, outcome=ERROR, reason=f"Could not be evaluated: {text}", error=text)
    except MalformedConditions as error:
        return Verdict(
            matched=False, outcome=NOT_MATCHED, reason=f"{error.path}: {error.message}, so it never matches"
        )
    most = Viewer.limit_for(sum(1 for _ in leaves(group)))
    found = _Evaluation(payload=payload, scope=scope, viewer=Viewer(secrets=secrets, most=most)).verdict(group)
    return _always() if found.matched and not found.steps else found


def check_conditions(conditions: Any) -> list[dict[str, Any]]:
    """Return warnings ``{path, message, line, column}`` about conditions that never match or cannot be evaluated."""
    try:
        group = read_criteria(conditions)
    except MalformedConditions as error:
        return [warning(error.path, error.message)]
    return [found for leaf in leaves(group) for found in _check(leaf)]


def _check(leaf: Entry | Formula) -> list[dict[str, Any]]:
    if isinstance(leaf, Formula):
        return check_formula(leaf, ROOTS)
    if leaf.operator not in OPERATORS:
        known = ", ".join(sorted(OPERATORS))
        return [warning(f"{leaf.path}.operator", f"unknown operator '{leaf.operator}'; there are {known}")]
    if leaf.operator == "matches" and isinstance(leaf.value, str):
        try:
            search(Run(Scope(roots={})), leaf.value, "")
        except ExpressionError as error:
            return [warning(f"{leaf.path}.value", error.message)]
    return []


def _always() -> Verdict:
    return Verdict(
        matched=True, outcome=MATCHED, steps=[{"index": 0, "kind": "always", "result": True, "error": None}]
    )


# --- The evaluation ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """Whether something holds, None when it was not evaluated; the reason is put into words only when asked for."""

    holds: bool | None
    why: Callable[[], str] = lambda: ""


@dataclass(kw_only=True)
class _Evaluation:
    """One evaluation: steps are added in the order in which the conditions are written, evaluated or not."""

    payload: Any
    scope: Scope
    viewer: Viewer
    steps: list[Step] = field(default_factory=list)
    error: str | None = None
    steps_left: int = _MAX_STEPS_TOGETHER

    def verdict(self, group: Group) -> Verdict:
        found = self._criterion(group, wanted=True)
        if self.error is not None:
            reason = f"Could not be evaluated: {self.error}"
            return Verdict(matched=False, outcome=ERROR, steps=self.steps, reason=reason, error=self.error)
        if found.holds:
            return Verdict(matched=True, outcome=MATCHED, steps=self.steps)
        return Verdict(matched=False, outcome=NOT_MATCHED, steps=self.steps, reason=found.why())

    def _criterion(self, criterion: Criterion, *, wanted: bool) -> _Finding:
        """Evaluate one criterion, or with ``wanted`` false only show it."""
        match criterion:
            case Group(kind="not"):
                return self._not(criterion, wanted=wanted)
            case Group():
                return self._joined(
                    criterion.kind, [self._evaluation_of(member) for member in criterion.members], wanted=wanted
                )
            case Entry():
                return self._entry(criterion, wanted=wanted and self.error is None)
            case Formula():
                return self._formula(criterion, wanted=wanted and self.error is None)

    def _evaluation_of(self, criterion: Criterion) -> Callable[[bool], _Finding]:
        return lambda wanted: self._criterion(criterion, wanted=wanted)

    def _not(self, group: Group, *, wanted: bool) -> _Finding:
        found = self._criterion(group.members[0], wanted=wanted)
        if found.holds is None:
            return found
        return _Finding(holds=not found.holds, why=lambda: f"what must not hold does: {found.why()}")

    def _joined(self, kind: str, members: Sequence[Callable[[bool], _Finding]], *, wanted: bool) -> _Finding:
        """Return whether all or any hold; members after the one that decides are only shown."""
        decides = kind == "any"  # what ends the search
        findings: list[_Finding] = []
        for evaluate in members:
            found = evaluate(wanted)
            findings.append(found)
            if found.holds is decides:
                wanted = False
        seen = [found for found in findings if found.holds is not None]
        deciding = [found for found in seen if found.holds is decides]
        if deciding:
            return deciding[0]
        if len(seen) < len(findings) or (not findings and not wanted):
            return _Finding(holds=None)
        if decides:
            return _Finding(holds=False, why=lambda: traces.together([found.why() for found in seen]))
        return _Finding(holds=True, why=lambda: " and ".join(found.why() for found in seen[:3]))

    # --- Entries of lists -----------------------------------------------------------------------------------------

    def _entry(self, entry: Entry, *, wanted: bool) -> _Finding:
        place, actual = self._actual(entry.field)
        present = actual is not NOTHING
        seen = self.viewer.of_payload(actual, place) if present else None
        step = self._step(
            "field", field=entry.field, operator=entry.operator,
            value=traces.shown(entry.value, self.viewer.most), actual=seen,
        )  # fmt: skip
        if not wanted:
            return _Finding(holds=None)
        try:
            with self._run() as run:
                step["result"] = holds = entry_holds(run, entry, actual)
        except ExpressionError as error:
            return self._failed(step, f"{entry.field}: {error}")
        return _Finding(holds=holds, why=lambda: traces.entry_reason(entry, seen, present=present, holds=holds))

    def _actual(self, path: str) -> tuple[Place, Any]:
        """Return the place that a dotted path of the payload means, and what stands there or NOTHING."""
        value, place = self.payload, []
        for name in path.split("."):
            place.append(int(name) if isinstance(value, list) and name.isdecimal() and len(name) < 10 else name)
            value = member_of(value, name)
        return tuple(place), value

    # --- Expressions ----------------------------------------------------------------------------------------------

    def _formula(self, formula: Formula, *, wanted: bool) -> _Finding:
        try:
            expression = compile_expression(formula.text)
            expression.check_functions(self.scope.functions)
        except ExpressionError as error:
            step = self._step("expression", expression=formula.text, operands=[])
            text = str(error.within(formula.written, formula.start))
            if wanted:
                return self._failed(step, text)
            step["error"] = text
            return _Finding(holds=None)
        with self._run() as run:
            if expression.operator not in ("and", "or"):
                return self._part(expression, formula, run, wanted=wanted)
            members = [self._part_of(part, formula, run) for part in expression.parts]
            return self._joined("any" if expression.operator == "or" else "all", members, wanted=wanted)

    def _part_of(self, part: Expression, formula: Formula, run: Run) -> Callable[[bool], _Finding]:
        return lambda wanted: self._part(part, formula, run, wanted=wanted and self.error is None)

    def _part(self, part: Expression, formula: Formula, run: Run, *, wanted: bool) -> _Finding:
        step = self._step("expression", expression=part.text, operands=[])
        if not wanted:
            return _Finding(holds=None)
        with self._run(lenient=True) as looking:
            step["operands"] = [
                {"path": operand.path, "value": self.viewer.of_operand(operand)}
                for operand in part.operands_in(looking)
            ]
        try:
            step["result"] = holds = bool(part.evaluate_in(run))
        except ExpressionError as error:
            return self._failed(step, str(error.within(formula.written, formula.start)))
        why = lambda: traces.expression_reason(part, self.scope, self.viewer, holds=holds)  # noqa: E731  # said late
        return _Finding(holds=holds, why=why)

    # --- Budget and steps ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _run(self, *, lenient: bool = False) -> Iterator[Run]:
        """Give what one expression may use of what is left, and take from that what it used."""
        steps = min(MAX_STEPS, self.steps_left)
        run = Run(self.scope, lenient=lenient, steps=steps)
        try:
            yield run
        finally:
            self.steps_left -= steps - run.steps

    def _step(self, kind: str, **fields: Any) -> Step:
        step = {"index": len(self.steps), "kind": kind, **fields, "result": None, "error": None}
        self.steps.append(step)
        return step

    def _failed(self, step: Step, text: str) -> _Finding:
        step["error"] = self.error = text
        return _Finding(holds=None)
