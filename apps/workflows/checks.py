"""Check definitions against the actions that exist."""

from typing import Any

from django.db.models import QuerySet

from apps.actions.models import Action
from apps.core.errors import Detail, ValidationFailed
from apps.workflows.definition.checking import Checked, actions_named, check
from apps.workflows.definition.parsing import read_definition
from apps.workflows.definition.problems import Entry, Problem
from apps.workflows.definition.source import entries

# The entries of warnings and details that a message to people has room for.
_MANY = 20


class InvalidWorkflow(ValidationFailed):
    """The workflow definition is not valid"""


def checked(definition: Any, *, among: "QuerySet[Action]") -> Checked:
    """Return what is wrong with a definition; actions that are not ``among`` these count as absent."""
    return check(definition, actions=schemas_of(definition, among=among))


def schemas_of(definition: Any, *, among: "QuerySet[Action]") -> dict[str, Any]:
    """Return the parameter schemas of those of these actions that a definition names."""
    refs = actions_named(read_definition(definition))
    return dict(among.filter(ref__in=refs).values_list("ref", "param_schema")) if refs else {}


def usable(definition: Any, *, among: "QuerySet[Action]") -> Checked:
    """Return a definition that may be stored. Raises InvalidWorkflow."""
    found = checked(definition, among=among)
    if errors := found.errors(strict=False):
        raise InvalidWorkflow(_sentence(errors), details=[_detail(entry) for entry in entries(errors)])
    return found


def warnings_of(found: Checked) -> list[Entry]:
    """Return what is doubtful about a definition that was stored."""
    return entries(found.warnings(strict=False))


def _sentence(errors: list[Problem]) -> str:
    texts = [f"{error.pointer}: {error.message}" if error.path else error.message for error in errors[:_MANY]]
    more = f"; and {len(errors) - _MANY} more" if len(errors) > _MANY else ""
    return f"Invalid workflow definition: {'; '.join(texts)}{more}"


def _detail(entry: Entry) -> Detail:
    """Return an entry as a detail of an error; what it holds besides is told, too."""
    field = "definition" + entry["path"].replace("/", ".")
    return {"field": field, **entry}  # type: ignore[typeddict-unknown-key]  # more than the usual two
