"""The children of one task: what each of them is given (workflows.md sections 2.1 and 7). Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apps.core.expressions import ExpressionError
from apps.core.markers import is_marker, restored
from apps.workflows.definition.graph import MAX_INPUTS_BYTES, MAX_ITEMS, Task
from apps.workflows.engine.book import Book, ChildSpec
from apps.workflows.engine.rendering import SecretExposed, rendered, rendered_for_child, secret_spots
from apps.workflows.engine.scope import Place


class CannotDispatch(Exception):
    """The task fails without a child; the text says why."""


def children_of(book: Book, task: Task, place: Place) -> list[ChildSpec]:
    """Return the children that a task is to have; none for an empty list of items. Raises CannotDispatch."""
    try:
        if not task.has_items:
            return [_child(book, task, place, None)]
        shown, real = _items(book, task, place)
        return _children(
            _child(book, task, replace(place, **_names(task, index, shown[index], real[index])), index)
            for index in range(len(shown))
        )
    except (ExpressionError, SecretExposed) as error:
        raise CannotDispatch(str(error)) from error


def _children(specs: Iterable[ChildSpec]) -> list[ChildSpec]:
    """Take the children one after another, as long as what they are given is not too much for one transaction."""
    taken: list[ChildSpec] = []
    size = 0
    for spec in specs:
        size += len(json.dumps(spec.parameters, separators=(",", ":")))
        if size > MAX_INPUTS_BYTES:
            raise CannotDispatch(
                f"The input of {len(taken) + 1} items is more than {MAX_INPUTS_BYTES // 2**20} MiB in all"
            )
        taken.append(spec)
    return taken


def _items(book: Book, task: Task, place: Place) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the items, or batches of them, with markers for secrets and as they really are."""
    kept = rendered(book, task.with_items, place)
    shown = kept.value if isinstance(kept.value, list) else [kept.value]
    value = restored(kept.value, kept.secrets) if kept.secrets else kept.value
    real = value if isinstance(value, list) else [value]
    if is_marker(kept.value):  # a secret list: each of its items is one
        shown = [kept.value] * len(real)
    if len(real) > MAX_ITEMS:
        raise CannotDispatch(f"with_items has {len(real)} items, at most {MAX_ITEMS} are allowed")
    return _batched(task, shown), _batched(task, real)


def _batched(task: Task, items: Sequence[Any]) -> Sequence[Any]:
    size = task.batch_size
    return items if size is None else [items[start : start + size] for start in range(0, len(items), size)]


def _names(task: Task, index: int, shown: Any, real: Any) -> dict[str, Any]:
    """Return the names that the input of one item knows beside the usual ones."""
    return {
        key: {"item": item, "index": index} | ({"batch": item} if task.batch_size is not None else {})
        for key, item in (("here", shown), ("here_real", real))
    }


def _child(book: Book, task: Task, place: Place, index: int | None) -> ChildSpec:
    if task.input:
        document = dict(task.input)
        parameters = rendered_for_child(book, task, document, place)
    else:
        parameters = _whole_parameters(book, task)
    return ChildSpec(
        parameters={**parameters, **book.given_input(task)},
        index=index,
        batch=index if task.batch_size is not None else None,
        permission_set_refs=_permission_sets(book, task, place),
    )


def _whole_parameters(book: Book, task: Task) -> Mapping[str, Any]:
    """
    Return the parameters of the workflow, for a task without input of its own.

    Secret ones only where the child takes them as such; what it does not know at all is left out then.
    """
    shown = dict(book.parameters())
    if not any(True for _spot in secret_spots(shown)):
        return shown
    real = dict(book.parameters(real=True))
    places = set(book.secret_places(task, real))
    spots = [spot for spot in secret_spots(shown) if not any(spot[: len(place)] == place for place in places)]
    exposed = [spot for spot in spots if book.takes(task, str(spot[0]))]
    if exposed:
        raise SecretExposed(exposed)
    unknown = {spot[0] for spot in spots}
    return {name: value for name, value in real.items() if name not in unknown}


def _permission_sets(book: Book, task: Task, place: Place) -> Sequence[str] | None:
    if task.permission_set_refs is None:
        return None
    value = rendered(book, task.permission_set_refs, place).value
    refs = [value] if isinstance(value, str) else value
    if not isinstance(refs, list) or not all(isinstance(ref, str) for ref in refs):
        raise CannotDispatch("permission_set_refs is neither a text nor a list of texts")
    return refs
