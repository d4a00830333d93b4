"""
Write a workflow into its pack's folder: ``actions/<name>.yaml`` and ``actions/workflows/<name>.workflow.yaml``.

Both files are in place when the rows are committed, or neither has changed. No link is followed below the folder.
"""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from apps.core.errors import BadRequest, ConflictError, UnprocessableEntity
from apps.core.refs import ref_problem, validate_component_ref
from apps.core.yaml_files import YamlError, parse_document
from apps.packs.models import CORE_REF, Pack
from apps.packs.registration import registering
from apps.packs.services import pack_directory
from apps.packs.storage import pack_folder
from apps.workflows.definition.parsing import version_of
from apps.workflows.definition.writing import yaml_text
from apps.workflows.models import WorkflowDefinition

ACTIONS, WORKFLOWS = "actions", "workflows"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# What this page says of a workflow; other keys of an action file that is there already are kept.
_OWN_KEYS = ("ref", "name", "label", "description", "parameters", "output", "tags", "workflow_file", "runner_type",
             "entry_point")  # fmt: skip


class NotInFiles(UnprocessableEntity):
    """The workflow cannot be written as files of the pack"""


class FileTaken(ConflictError):
    """The pack has an action file of that name"""


class CorePackFiles(BadRequest):
    """The files of the core pack come with the product and cannot be changed"""


@contextmanager
def writing(pack: Pack, name: str) -> Iterator["WorkflowFiles"]:
    """
    Give the files of one workflow; what was written is taken back when the block or its commit fails.

    No registration of the pack runs meanwhile. Raises NotInFiles, CorePackFiles.
    """
    if pack.ref == CORE_REF:
        raise CorePackFiles
    if problem := ref_problem(validate_component_ref, f"{pack.ref}.{name}"):
        raise NotInFiles(f"name: {problem}")
    with ExitStack() as stack:
        files = WorkflowFiles(pack, name, stack)
        try:
            with registering(pack.ref):
                yield files
        except BaseException:
            files.undo()
            raise
        files.finish()


class WorkflowFiles:
    """The two files of a workflow."""

    def __init__(self, pack: Pack, name: str, stack: ExitStack) -> None:
        self.action_file = f"{ACTIONS}/{name}.yaml"
        self._name = name
        self._root = pack_directory(pack) or pack_folder(pack.ref)
        self._stack = stack
        self._replaced: list[_Replaced] = []

    def refuse_existing(self) -> None:
        """Raise FileTaken when there is an action file of that name."""
        for suffix in ("yaml", "yml"):
            if os.path.lexists(self._root / ACTIONS / f"{self._name}.{suffix}"):
                raise FileTaken(f"The pack already has a file {ACTIONS}/{self._name}.{suffix}")

    def write(self, workflow: WorkflowDefinition) -> None:
        """Put both files in place. Raises NotInFiles."""
        texts = (_text(_workflow_document(workflow)), _text({**self._other_keys(), **_action_document(workflow)}))
        try:
            root = self._opened(self._root)
            actions = self._opened(ACTIONS, root)
            workflows = self._opened(WORKFLOWS, actions)
            self._put(workflows, f"{self._name}.workflow.yaml", texts[0])
            self._put(actions, f"{self._name}.yaml", texts[1])
        except OSError as error:
            raise NotInFiles(f"The pack's folder cannot be written: {error.strerror}") from error

    def undo(self) -> None:
        """Put back what was there before."""
        while self._replaced:
            self._replaced.pop().undo()

    def finish(self) -> None:
        """Forget what was there before."""
        for replaced in self._replaced:
            replaced.finish()

    def _opened(self, path: str | Path, parent: int | None = None) -> int:
        """Open a folder, made when it is absent; one that is a link is refused."""
        if parent is None:
            Path(path).mkdir(parents=True, exist_ok=True)
            path = Path(path).resolve()  # where packs lie is the operator's affair
        else:
            with suppress(FileExistsError):
                os.mkdir(path, 0o755, dir_fd=parent)
        folder = os.open(path, _DIRECTORY, dir_fd=parent)
        self._stack.callback(os.close, folder)
        return folder

    def _put(self, folder: int, name: str, text: str) -> None:
        replaced = _Replaced(folder, name)
        self._replaced.append(replaced)
        replaced.put(text.encode())

    def _other_keys(self) -> dict[str, Any]:
        """Return what the action file says beyond the workflow, such as a time limit."""
        file = self._root / self.action_file
        try:
            found = parse_document(file.read_bytes()).value if file.is_file() and not file.is_symlink() else None
        except (OSError, YamlError):
            return {}
        return {key: value for key, value in found.items() if key not in _OWN_KEYS} if isinstance(found, dict) else {}


class _Replaced:
    """One file and what was there before it."""

    def __init__(self, folder: int, name: str) -> None:
        self._folder = folder
        self._name = name
        self._aside: str | None = None
        self._made = False

    def put(self, content: bytes) -> None:
        new = self._temporary()
        try:
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=self._folder)
            with os.fdopen(file, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            aside = self._temporary()
            with suppress(FileNotFoundError):
                os.link(self._name, aside, src_dir_fd=self._folder, dst_dir_fd=self._folder, follow_symlinks=False)
                self._aside = aside
            os.replace(new, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._made = True
        finally:
            with suppress(FileNotFoundError):
                os.unlink(new, dir_fd=self._folder)

    def undo(self) -> None:
        if self._aside is not None:
            os.replace(self._aside, self._name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        elif self._made:
            with suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self._folder)

    def finish(self) -> None:
        if self._aside is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._aside, dir_fd=self._folder)

    def _temporary(self) -> str:
        # Hidden, so that nobody takes it for a component.
        return f".{secrets.token_hex(8)}.tmp"


def _text(document: Mapping[str, Any]) -> str:
    """Return YAML that reads as the same document. Raises NotInFiles when none does."""
    text = yaml_text(dict(document), width=120)
    try:
        same = parse_document(text).value == document
    except YamlError as error:
        raise NotInFiles(f"The workflow cannot be written as YAML: {error.message}") from error
    if not same:
        raise NotInFiles("The workflow cannot be written as YAML that reads the same")
    return text


def _workflow_document(workflow: WorkflowDefinition) -> dict[str, Any]:
    """Return what the workflow file holds; the version of the request stands for one of the definition."""
    if version_of(workflow.definition) == workflow.version:
        return dict(workflow.definition)
    return {"version": workflow.version, **{k: v for k, v in workflow.definition.items() if k != "version"}}


def _action_document(workflow: WorkflowDefinition) -> dict[str, Any]:
    name = workflow.ref.partition(".")[2]
    document = {
        "ref": workflow.ref,
        "label": workflow.label,
        "description": workflow.description,
        "workflow_file": f"{WORKFLOWS}/{name}.workflow.yaml",
        "parameters": workflow.param_schema,
        "output": workflow.out_schema,
        "tags": workflow.tags or None,
    }
    return {key: value for key, value in document.items() if value is not None}
