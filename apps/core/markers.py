"""
The marker that stands where a secret value was taken out of a document (auth.md section 10). Pure.

Places are named by JSON pointers (RFC 6901) into the document.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MARKER_KEY = "$attune_secret"
MARKER: Mapping[str, Any] = {MARKER_KEY: True, "redacted": True}

Path = Sequence[str | int]


def is_marker(value: Any) -> bool:
    """Whether the value stands for a secret that is kept elsewhere."""
    return isinstance(value, dict) and value.get(MARKER_KEY) is True


def holds_marker(document: Any) -> bool:
    """Whether a marker stands anywhere in the document."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if value.get(MARKER_KEY) is True:
                return True
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return False


def marked(document: Any, paths: Iterable[Path]) -> tuple[Any, dict[str, Any]]:
    """
    Return the document with a marker at each of these places, and the values that stood there, by pointer.

    The document itself is not changed; parts without secrets are shared. Places that do not exist, and those that
    hold null or a marker already, are left alone.
    """
    taken: dict[str, Any] = {}
    for path in sorted(paths, key=len):  # what holds another secret goes as a whole
        found, value = _value_at(document, path)
        if found and value is not None and not is_marker(value):
            taken[pointer(path)] = value
            document = _with(document, path, dict(MARKER))
    return document, taken


def emptied(document: Any, paths: Iterable[Path]) -> Any:
    """Return the document with null at each of these places; it is not changed itself."""
    for path in sorted(paths, key=len):
        if _value_at(document, path)[1] is not None:
            document = _with(document, path, None)
    return document


def restored(document: Any, values: Mapping[str, Any]) -> Any:
    """Return the document with the values back in the places of their markers; other places are left alone."""
    for text, value in values.items():
        path = path_of(text, document)
        if path is not None and is_marker(_value_at(document, path)[1]):
            document = _with(document, path, value)
    return document


def pointer(path: Path) -> str:
    """Return the JSON pointer of a path; the whole document is the empty text."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def path_of(text: str, document: Any) -> list[str | int] | None:
    """Return the path that a pointer names in this document; None when it leads nowhere."""
    path: list[str | int] = []
    for word in text.split("/")[1:]:
        step: str | int = word.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list):
            if not word.isdecimal():
                return None
            step = int(word)
        found, document = _value_at(document, [step])
        if not found:
            return None
        path.append(step)
    return path


def _value_at(document: Any, path: Path) -> tuple[bool, Any]:
    for step in path:
        if not isinstance(document, dict | list) or is_marker(document):
            return False, None
        try:
            document = document[step]  # type: ignore[index]  # a step that does not fit raises
        except (KeyError, IndexError, TypeError):
            return False, None
    return True, document


def _with(document: Any, path: Path, value: Any) -> Any:
    """Return a copy of the document, along this path only, with another value at its end."""
    if not path:
        return value
    step, *rest = path
    copy: Any = dict(document) if isinstance(document, dict) else list(document)
    copy[step] = _with(copy[step], rest, value)
    return copy
