"""Secret parameters of a rule: never shown, and kept when the form that shows stars for them is saved."""

import copy
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from typing import Any

from apps.core.schemas import secret_paths
from apps.rules.secrets import is_template

STARS = "***"


def hide(schema: Any, value: Any) -> Any:
    """Return a copy with literal secrets as stars; a template is no secret, it only says where one comes from."""
    shown = copy.deepcopy(value)
    for *way, last in secret_paths(schema, shown):
        holder = reduce(getitem, way, shown)
        if not is_template(holder[last]):
            holder[last] = STARS
    return shown


def restore(schema: Any, given: Any, before: Any) -> Any:
    """Return a copy of what a form sent with the stars replaced by what is kept."""
    kept = copy.deepcopy(given)
    for *way, last in secret_paths(schema, kept):
        holder = reduce(getitem, way, kept)
        if holder[last] == STARS:
            holder[last] = _at(before, [*way, last])
    return kept


def _at(value: Any, path: list[str | int]) -> Any:
    for part in path:
        inside = isinstance(value, Mapping) and part in value
        inside = inside or (isinstance(value, list) and isinstance(part, int) and part < len(value))
        if not inside:
            return STARS
        value = value[part]
    return value
