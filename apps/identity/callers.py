"""
Who asks: the caller of a request, made of a verified token or a browser's session.

Views have it as ``self.caller`` (``request.auth``); services take ``caller.identity`` or the caller itself::

    caller.require("actions:execute", action)       # Forbidden without it
    if caller.allows("executions:read"): ...
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from apps.core.errors import Forbidden
from apps.identity import grants
from apps.identity.denials import lacking, refused
from apps.identity.grants import Grants, held
from apps.identity.models import Identity


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A verified caller. ``holder`` is None for worker tokens, which act for no identity."""

    holder: Identity | None
    token_type: str
    login: str
    # Execution tokens: whose they are, and what they may.
    execution_id: int | None = None
    action_ref: str | None = None
    permission_set_refs: tuple[str, ...] = ()
    standard_access_action_refs: tuple[str, ...] = ()
    standard_access_pack_refs: tuple[str, ...] = ()
    epoch: int | None = None
    # Sensor tokens: the triggers they may post for; worker tokens: the worker.
    trigger_types: tuple[str, ...] = ()
    worker_id: int | None = None

    @property
    def identity(self) -> Identity:
        """The identity it acts for. Raises Forbidden for a token that acts for none."""
        if self.holder is None:
            raise Forbidden(f"A {self.token_type} token acts for no identity")
        return self.holder

    @property
    def identity_id(self) -> int | None:
        return None if self.holder is None else self.holder.pk

    @property
    def is_execution(self) -> bool:
        return self.token_type == "execution"

    @property
    def subject(self) -> str:
        """One text per caller: keeps idempotency keys of callers apart."""
        own = self.execution_id or self.worker_id or self.identity_id
        return f"{self.token_type}:{own}"

    @cached_property
    def grants(self) -> Grants:
        """What it was granted; asks the database once. Raises Forbidden when its token names a set nobody knows."""
        return held.load(self)

    def allows(self, grant: str, row: object = None) -> bool:
        """Whether the caller may do ``resource:action`` on the row; without one: on some object at all."""
        return grants.allows(self, grant, row)

    def may_create(self, grant: str, facts: object) -> bool:
        """Whether the caller may make an object like this, described by its facts or the values of a request."""
        return grants.may_create(self, grant, grants.facts_of(facts))

    def covers(self, grant: str) -> bool:
        """Whether the caller may do ``resource:action`` whatever the object is like."""
        return grants.covers(self, grant)

    def require(self, grant: str, row: object = None) -> None:
        """Raise Forbidden unless ``allows``."""
        if not self.allows(grant, row):
            raise lacking(grant, grants.facts_of(row) if isinstance(row, Mapping) else row)

    def require_changed(self, grant: str, row: object, values: Mapping[str, Any]) -> None:
        """Raise Forbidden unless ``allows`` holds for the row with these values, too."""
        known = grants.facts_of(row)
        changed = known.with_values(values)
        if changed != known and not self.may_create(grant, changed):
            raise lacking(grant, row)

    def require_type(self, *token_types: str) -> None:
        """Raise Forbidden unless the token is of one of these types."""
        if self.token_type not in token_types:
            raise refused(f"Not admitted here: a token of type {self.token_type}")
