"""
Parts of the page of an execution that the apps above add: what a kind of execution has to show beside what all have.

    sections.register(section_of_run)    # (execution, caller) -> Section | None

A section is asked for again whenever the page refreshes itself, so it makes a bounded number of queries. It is asked
only once the caller may read the execution.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.executions.models import Execution
from apps.identity.callers import Caller


@dataclass(frozen=True, kw_only=True)
class Section:
    """``template`` is drawn with ``context`` as ``section``; one that takes long asks to be refreshed less often."""

    template: str
    context: Mapping[str, Any]
    refresh_seconds: int = 1


Maker = Callable[[Execution, Caller], Section | None]

_makers: list[Maker] = []


def register(maker: Maker) -> None:
    """Let ``maker`` add a section to the pages of the executions it knows; it returns None for the others."""
    _makers.append(maker)


def sections_of(execution: Execution, caller: Caller) -> list[Section]:
    """Return what the page of this execution shows in addition."""
    return [section for maker in _makers if (section := maker(execution, caller)) is not None]
