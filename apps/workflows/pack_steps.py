"""Check the workflows in a pack's folder, and bring the rows in step with them without registering the whole pack."""

from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction

from apps.actions.models import Action
from apps.packs.components import Component, FaultyComponent, Warning, faults
from apps.packs.models import Pack
from apps.packs.registration import registering
from apps.packs.services import pack_directory
from apps.workflows.checks import checked
from apps.workflows.definition.source import entries
from apps.workflows.loader import load_alone, load_linked, warning_texts
from apps.workflows.models import WorkflowDefinition
from apps.workflows.pack_sources import ACTIONS, described, workflow_components


@dataclass(frozen=True, kw_only=True)
class Synced:
    """``loaded`` workflows were found in files; ``workflows`` became rows; ``errors`` say what did not."""

    loaded: int = 0
    workflows: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def validate_pack(pack: Pack) -> tuple[int, dict[str, list[str]]]:
    """Return how many workflows the pack's files hold, and by ref what is wrong with those that are not valid."""
    root = pack_directory(pack)
    components = list(workflow_components(root, pack.ref)) if root is not None else []
    found: dict[str, list[str]] = {}
    for component in components:
        if errors := _errors(component):
            found.setdefault(component.ref, []).extend(errors)
    return len(components), found


def sync_pack(pack: Pack) -> Synced:
    """Create or update the workflows that the pack's files describe; others stay as they are."""
    root = pack_directory(pack)
    if root is None:
        return Synced()
    components = list(workflow_components(root, pack.ref))
    synced = Synced(loaded=len(components))
    with registering(pack.ref):
        for component in components:
            _sync(pack, component, synced)
    return synced


def _errors(component: Component) -> list[str]:
    if component.file.problem is not None:
        return [_text(faults_of_file(component))]
    try:
        if not component.file.path.startswith(f"{ACTIONS}/"):
            for key in ("ref", "label"):
                if not component.text(key):
                    raise FaultyComponent(f"{key} is required", key=key)
        workflow = described(component)
    except FaultyComponent as error:
        return [_text(faults(component, error))]
    result = checked(workflow.definition, among=Action.objects.all())
    return warning_texts(entries(result.errors(strict=True), workflow.source))


def faults_of_file(component: Component) -> Warning:
    """Return the warning for a file that cannot be read at all."""
    file = component.file
    return {"file": file.path, "line": file.problem_line, "message": f"not parsable: {file.problem}"}


def _sync(pack: Pack, component: Component, synced: Synced) -> None:
    if component.file.problem is not None:
        synced.errors.append(_text_with_file(faults_of_file(component)))
        return
    load = load_linked if component.file.path.startswith(f"{ACTIONS}/") else load_alone
    known = WorkflowDefinition.objects.filter(ref=component.ref).exists()
    try:
        with transaction.atomic():
            workflow = load(pack, component)
    except FaultyComponent as error:
        synced.errors.append(_text_with_file(faults(component, error)))
    except ValidationError as error:
        synced.errors.append(f"{component.file.path}: {'; '.join(error.messages)}")
    except DatabaseError:
        synced.errors.append(f"{component.file.path}: the database refused it")
    else:
        synced.workflows.append(
            {
                "ref_name": workflow.ref,
                "created": not known,
                "workflow_def_id": workflow.pk,
                "warnings": [_text(warning) for warning in component.warnings],
            }
        )


def _text(warning: Warning) -> str:
    return f"line {warning['line']}: {warning['message']}" if warning["line"] else warning["message"]


def _text_with_file(warning: Warning) -> str:
    return f"{warning['file']}: {_text(warning)}"
