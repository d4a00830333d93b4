"""Read where a task leads: ``next``, the older keys that mean the same, and what is published on the way."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from apps.core.expressions import ExpressionError, inner_expression
from apps.workflows.definition.fields import Fields
from apps.workflows.definition.graph import Published, Transition
from apps.workflows.definition.problems import Path

SUCCEEDED = "succeeded()"
OLDER = {
    "on_success": SUCCEEDED,
    "on_failure": "failed()",
    "on_complete": None,
    "on_timeout": "timed_out()",
}


@dataclass(frozen=True, kw_only=True)
class Named:
    """A name with the place where it is written."""

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Publication:
    name: str
    value: Published
    path: Path


@dataclass(frozen=True, kw_only=True)
class Step:
    """A transition with the places where its parts are written; ``when_path`` is None for one nobody wrote."""

    when: str | None = None
    when_path: Path | None = None
    publish: tuple[Publication, ...] = ()
    do: tuple[Named, ...] = ()

    def transition(self, index: int) -> Transition:
        return Transition(
            index=index,
            when=self.when,
            publish=tuple((entry.name, entry.value) for entry in self.publish),
            do=tuple(dict.fromkeys(target.name for target in self.do)),
        )


def read_steps(task: Fields) -> list[Step]:
    """Return the transitions of a task, in their order."""
    steps = [_step(entry) for entry in task.entries("next")]
    if not steps and not task.get("next"):
        steps = [*_older(task), *_decisions(task)]
    published = tuple(_publications(task))
    return _with_published(steps, published) if published else steps


def leads_somewhere(task: Fields) -> str | None:
    """Return the first key that gives the task transitions, None without one."""
    return next((key for key in ("next", *OLDER, "decision", "publish") if task.get(key)), None)


def _step(entry: Fields) -> Step:
    when = entry.condition("when")
    return Step(
        when=when or None,
        when_path=(*entry.path, "when") if when else None,
        publish=tuple(_publications(entry)),
        do=_targets(entry, "do"),
    )


def _targets(entry: Fields, key: str) -> tuple[Named, ...]:
    return tuple(Named(name=name, path=path) for name, path in entry.names(key))


def _older(task: Fields) -> Iterator[Step]:
    for key, when in OLDER.items():
        targets = _targets(task, key)
        if targets:
            yield Step(when=when, do=targets)


def _decisions(task: Fields) -> list[Step]:
    """Return the branches of ``decision``, the default last; it has no condition unless it is given one."""
    steps: list[Step] = []
    last: list[Step] = []
    for branch in task.entries("decision"):
        default = branch.get("default")
        if isinstance(default, str):  # the task itself, beside or instead of a branch
            last.append(Step(do=_targets(branch, "default")))
        if branch.get("next") is None:
            if not isinstance(default, str):
                branch.problems.error("type", "a branch of decision needs next", branch.path)
            continue
        when = branch.condition("when")
        step = Step(when=when or None, when_path=(*branch.path, "when") if when else None, do=_targets(branch, "next"))
        (last if default is True else steps).append(step)
    return [*steps, *last]


def _publications(entry: Fields) -> Iterator[Publication]:
    """Yield what ``publish`` says: a list of maps and bare names, a single one of them accepted."""
    value, path = entry.get("publish"), (*entry.path, "publish")
    if value is None:
        return
    for place, item in _listed(value, path):
        if isinstance(item, str) and item:
            yield Publication(name=item, value=Published(whole_result=True), path=place)
        elif isinstance(item, Mapping):
            for name, content in item.items():
                yield Publication(name=name, value=Published(value=content), path=(*place, name))
        else:
            entry.problems.error("type", "an entry of publish must be a mapping or a name", place)


def _listed(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, list):
        yield from (((*path, index), item) for index, item in enumerate(value))
    else:
        yield path, value


def _with_published(steps: list[Step], published: tuple[Publication, ...]) -> list[Step]:
    """Attach what the task itself publishes to its first ``succeeded()`` transition, else its first, else a new one."""
    if not steps:
        return [Step(when=SUCCEEDED, publish=published)]
    chosen = next((index for index, step in enumerate(steps) if _is_succeeded(step.when)), 0)
    steps[chosen] = replace(steps[chosen], publish=(*steps[chosen].publish, *published))
    return steps


def _is_succeeded(when: str | None) -> bool:
    if when is None:
        return False
    try:
        return inner_expression(when)[0].strip() == SUCCEEDED
    except ExpressionError:
        return False
