"""
Who may do what (auth.md 4 to 7). ``allows`` is the one place that decides; ``condition`` says the same in SQL.

What others use of it; the parts: ``catalogue`` (what grants are made of), ``compiled`` (grants as they are checked),
``held`` (who holds which), ``facts`` (objects as constraints see them), ``matching``, ``conditions``, ``explaining``.
"""

from apps.identity.grants import facts
from apps.identity.grants.catalogue import ACTIONS, STANDARD, problems
from apps.identity.grants.compiled import Grants
from apps.identity.grants.conditions import (
    EVERYTHING,
    NOTHING,
    Columns,
    all_of,
    any_of,
    condition,
    narrowed,
    owned_by,
    under,
)
from apps.identity.grants.deciding import (
    allows,
    beyond,
    covers,
    effective_permissions,
    existing_sets,
    may_create,
    require_delegation,
    uncovered,
)
from apps.identity.grants.facts import LACKING, Facts, facts_of
from apps.identity.grants.held import assigned_sets, grants_of, grants_of_identity, holds_set

__all__ = [
    "ACTIONS",
    "EVERYTHING",
    "LACKING",
    "NOTHING",
    "STANDARD",
    "Columns",
    "Facts",
    "Grants",
    "all_of",
    "allows",
    "any_of",
    "assigned_sets",
    "beyond",
    "condition",
    "covers",
    "effective_permissions",
    "existing_sets",
    "facts",
    "facts_of",
    "grants_of",
    "grants_of_identity",
    "holds_set",
    "may_create",
    "narrowed",
    "owned_by",
    "problems",
    "require_delegation",
    "uncovered",
    "under",
]
