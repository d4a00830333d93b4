"""
What led to an event: the chain from the request or the stored event down to it (auth.md section 12).

The apps above say what stands directly above their rows; the chains are put together by the writer, away from the
request::

    # apps/executions/apps.py, ready()
    chains.register("execution", links_above)     # (ids) -> {id: (("enforcement", 7), ...)}
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

Link = tuple[str, int | str]  # (type, id), as ("execution", 12); a request has its UUID
Above = Callable[[Collection[int]], Mapping[int, Link]]

REQUEST = "request"
_HIGHEST = 60  # levels; executions are nested 50 deep at most

# Kinds of resources with which a chain ends.
_LINKED = frozenset({"event", "enforcement", "execution", "inquiry"})

_above: dict[str, Above] = {}


def register(kind: str, above: Above) -> None:
    """Say what stands directly above rows of a kind; rows above which there is nothing are left out."""
    _above[kind] = above


def is_linked(kind: str | None) -> bool:
    return kind in _LINKED


def chains_of(starts: Iterable[tuple[Link, ...]]) -> list[list[dict[str, Any]]]:
    """
    Return a chain for each of these tuples of links: every link with what stands above it, nothing twice.

    Asks the database once for each kind and level of all of them together.
    """
    rows = list(starts)
    parents = _parents_of({link for row in rows for link in row})
    return [_as_json(_chain(row, parents)) for row in rows]


def _parents_of(links: set[Link]) -> dict[Link, Link]:
    parents: dict[Link, Link] = {}
    open_links = {link for link in links if link[0] in _above}
    for _level in range(_HIGHEST):
        found: dict[Link, Link] = {}
        for kind in {kind for kind, _id in open_links}:
            ids = [int(own_id) for own_kind, own_id in open_links if own_kind == kind]
            found.update({(kind, own_id): link for own_id, link in _above[kind](ids).items()})
        parents.update(found)
        open_links = {link for link in found.values() if link[0] in _above and link not in parents}
        if not open_links:
            break
    return parents


def _chain(row: tuple[Link, ...], parents: Mapping[Link, Link]) -> list[Link]:
    chain: dict[Link, None] = {}
    for link in row:
        line = [link]
        while line[-1] in parents and len(line) <= _HIGHEST:
            line.append(parents[line[-1]])
        chain.update(dict.fromkeys(reversed(line)))
    return list(chain)


def _as_json(chain: Iterable[Link]) -> list[dict[str, Any]]:
    return [{"type": kind, "id": own_id} for kind, own_id in chain]
