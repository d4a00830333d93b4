"""Write definitions as YAML. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_HEAD = ("ref", "label", "description", "version", "tags", "cancellation_policy", "max_iterations", "parameters", "output",
         "vars", "tasks", "output_map")  # fmt: skip
_TASK = ("name", "type", "action", "when", "with_items", "batch_size", "concurrency", "fail_fast", "input", "retry",
         "timeout", "join", "max_iterations", "permission_set_refs", "tasks", "publish", "next")  # fmt: skip
_STEP = ("when", "publish", "do")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def yaml_text(document: Any, *, width: int = 100) -> str:
    """Return a JSON value as YAML, keys in their order."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)
    return text


def in_usual_order(definition: Any) -> Any:
    """Return the definition with its keys as people write them: PostgreSQL does not keep their order."""
    if not isinstance(definition, Mapping):
        return definition
    return {**_ordered(definition, _HEAD), **_tasks(definition, "tasks")}


def _tasks(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {key: [_task(task) for task in data[key]]} if isinstance(data.get(key), list) else {}


def _task(task: Any) -> Any:
    if not isinstance(task, Mapping):
        return task
    steps = task.get("next")
    following = {"next": [_step(step) for step in steps]} if isinstance(steps, list) else {}
    return {**_ordered(task, _TASK), **_tasks(task, "tasks"), **following}


def _step(step: Any) -> Any:
    return _ordered(step, _STEP) if isinstance(step, Mapping) else step


def _ordered(data: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {**{key: data[key] for key in keys if key in data}, **data}
