"""Find and read the workflows in a pack's folder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.core.yaml_files import MAX_BYTES
from apps.packs.components import Component, FaultyComponent
from apps.packs.folder import component_files, is_inside
from apps.workflows.definition.source import Source, UnreadableSource, read_source

ACTIONS, WORKFLOWS = "actions", "workflows"
_DASHED = ("on-success", "on-error", "on-complete", "on-failure")  # keys of another dialect


@dataclass(frozen=True, kw_only=True)
class Described:
    """A workflow of a pack: what the component file says of it, and the definition with its text."""

    component: Component
    path: str  # of the file that holds the definition, below the pack
    source: Source

    @property
    def definition(self) -> dict[str, Any]:
        return dict(self.source.value)


def described(component: Component) -> Described:
    """
    Return the workflow of a component: of an action with ``workflow_file``, or of a file that stands alone.

    Raises FaultyComponent, also for a file that is written in another dialect.
    """
    linked = component.text("workflow_file")
    path = component.file.path if linked is None else f"{ACTIONS}/{linked}"
    root = component.file.root
    if root is None:
        raise FaultyComponent("the pack's folder is not there")
    file = root / path
    if not is_inside(file, root):
        raise FaultyComponent("workflow_file leads out of the pack", key="workflow_file")
    if not file.is_file():
        raise FaultyComponent(f"there is no file '{path}'", key="workflow_file")
    shown = _shown(file, root, path)
    try:
        source = read_source(_text(file))
    except UnreadableSource as error:
        raise FaultyComponent(f"not parsable: {error.message}", file=shown, line=error.line) from error
    except OSError as error:
        raise FaultyComponent(f"it cannot be read: {error.strerror}", file=shown) from error
    if not isinstance(source.value, Mapping):
        raise FaultyComponent("the file must hold a mapping", file=shown, line=1)
    _refuse_other_dialect(source, shown)
    return Described(component=component, path=shown, source=source)


def workflow_components(root: Path, pack_ref: str) -> Iterator[Component]:
    """Yield the components of a pack that are workflows; of what cannot be read nobody knows whether it is one."""
    for folder in (ACTIONS, WORKFLOWS):
        for file in component_files(root, folder):
            linked = isinstance(file.data, Mapping) and file.data.get("workflow_file") is not None
            if linked if folder == ACTIONS else True:
                yield Component(file=file, pack_ref=pack_ref)


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableSource("not UTF-8 text", content.count(b"\n", 0, error.start) + 1) from None


def _shown(file: Path, root: Path, path: str) -> str:
    """Return the path without its detours."""
    resolved, base = file.resolve(), root.resolve()
    return resolved.relative_to(base).as_posix() if resolved.is_relative_to(base) else path


def _refuse_other_dialect(source: Source, path: str) -> None:
    tasks = source.value.get("tasks")
    sign: tuple[str | int, ...] | None = ("tasks",) if isinstance(tasks, Mapping) else None
    for index, task in enumerate(tasks if isinstance(tasks, list) else ()):
        key = next((key for key in _DASHED if isinstance(task, Mapping) and key in task), None)
        if key is not None:
            sign = ("tasks", index, key)
            break
    if sign is not None:
        position = source.position(sign)
        what = "tasks as a mapping" if len(sign) == 1 else f"'{sign[-1]}'"
        message = f"it is written in another dialect of workflows ({what}) and is skipped"
        raise FaultyComponent(message, file=path, line=position[0] if position else None)
