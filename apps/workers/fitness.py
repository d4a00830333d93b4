"""
Which worker fits what is demanded of it (execution.md section 4). Pure: values in, values out.

Requirements: {"runtime": [names in lower case] | null, "version": text|null, "required": {name: constraint},
"required_names": {name: [names in lower case]}, "selector": {}, "tolerations": [], "affinity": {}}; a required runtime
that "required_names" leaves out has that one name only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.workers.versions import satisfies

# A worker that fails one of these could never run it; the others pass.
NEVER = frozenset({"role", "runtime", "runtime_version", "selector", "taint", "affinity"})


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a worker offers, read from its row."""

    worker_id: int
    name: str
    role: str
    is_active: bool
    lease_valid: bool
    cordoned: bool
    draining: bool
    slots: int
    runtimes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # name in lower case -> versions
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, Any]] = ()


def read_capabilities(
    capabilities: Mapping[str, Any] | None,
) -> tuple[dict[str, list[str]], dict[str, str], list[Any]]:
    """Return (runtimes with versions, labels, taints) of a worker's capabilities, whichever of the two forms it has."""
    capabilities = capabilities or {}
    versions = {str(k).lower(): v for k, v in (capabilities.get("runtime_versions") or {}).items()}
    runtimes: dict[str, list[str]] = {}
    for entry in capabilities.get("runtimes") or []:
        if isinstance(entry, Mapping):
            runtimes[str(entry.get("name", "")).lower()] = [str(v) for v in entry.get("versions") or []]
        else:
            name = str(entry).lower()
            runtimes[name] = [str(v) for v in versions.get(name) or []]
    return runtimes, dict(capabilities.get("labels") or {}), list(capabilities.get("taints") or [])


def misfit(requirements: Mapping[str, Any], offer: Offer, *, role: str = "action") -> str | None:
    """Return the first demand the worker does not meet, in the words of api.md 13.5, or None when it fits."""
    if offer.role not in (role, "hybrid"):
        return "role"
    return _misfit_of_runtimes(requirements, offer) or _misfit_of_place(requirements, offer) or _away(offer)


def _misfit_of_runtimes(requirements: Mapping[str, Any], offer: Offer) -> str | None:
    names = requirements.get("runtime")
    if names is not None:
        offered = [name for name in names if name in offer.runtimes]
        if not offered:
            return "runtime"
        if not has_version(offer, offered, requirements.get("version")):
            return "runtime_version"
    for _name, names, constraint in required_runtimes(requirements):
        if not any(name in offer.runtimes for name in names):
            return "runtime"
        if not has_version(offer, names, constraint):
            return "runtime_version"
    return None


def required_runtimes(requirements: Mapping[str, Any]) -> list[tuple[str, Sequence[str], str | None]]:
    """Return (name as the action has it, every name it may be offered by, constraint) of each further runtime, by name."""
    others = requirements.get("required_names") or {}
    required = requirements.get("required") or {}
    return [(str(name), others.get(name) or [str(name).lower()], needed) for name, needed in sorted(required.items())]


def has_version(offer: Offer, names: Sequence[str], constraint: str | None) -> bool:
    """Return whether the worker offers a version that satisfies this, under one of the names; none or ``*``: any."""
    if constraint in ("*", "", None):
        return True
    return any(satisfies(version, constraint) for name in names for version in offer.runtimes.get(name, ()))


def _misfit_of_place(requirements: Mapping[str, Any], offer: Offer) -> str | None:
    selector = requirements.get("selector") or {}
    if any(str(offer.labels.get(key)) != str(value) or key not in offer.labels for key, value in selector.items()):
        return "selector"
    tolerations = requirements.get("tolerations") or []
    for taint in offer.taints:
        if taint.get("effect") == "no_schedule" and not _tolerated(taint, tolerations):
            return "taint"
    affinity = requirements.get("affinity") or {}
    required = affinity.get("required") or []
    if required and not any(_holds(term, offer.labels) for term in required):
        return "affinity"
    if any(_holds(term, offer.labels) for term in affinity.get("anti_affinity") or []):
        return "affinity"
    return None


def _away(offer: Offer) -> str | None:
    if not offer.is_active or not offer.lease_valid:
        return "offline"
    if offer.cordoned:
        return "cordoned"
    if offer.draining:
        return "draining"
    return None


def score(requirements: Mapping[str, Any], offer: Offer) -> int:
    """Return how much a fitting worker is preferred; one with an untolerated soft taint stands behind all others."""
    affinity = requirements.get("affinity") or {}
    points = sum(
        int(term.get("weight", 1))
        for term in affinity.get("preferred") or []
        if _holds(term.get("preference") or {}, offer.labels)
    )
    tolerations = requirements.get("tolerations") or []
    soft = any(t.get("effect") == "prefer_no_schedule" and not _tolerated(t, tolerations) for t in offer.taints)
    return points - 1_000_000 if soft else points


def _tolerated(taint: Mapping[str, Any], tolerations: Sequence[Mapping[str, Any]]) -> bool:
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("key") != taint.get("key"):
        return False
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    return toleration.get("operator", "equal") == "exists" or toleration.get("value") == taint.get("value")


def _holds(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    for key, value in (term.get("match_labels") or {}).items():
        if key not in labels or str(labels[key]) != str(value):
            return False
    return all(_expression_holds(expression, labels) for expression in term.get("match_expressions") or [])


def _expression_holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key = str(expression.get("key"))
    values = [str(value) for value in expression.get("values") or []]
    match expression.get("operator"):
        case "in":
            return key in labels and str(labels[key]) in values
        case "not_in":
            return key not in labels or str(labels[key]) not in values
        case "exists":
            return key in labels
        case "does_not_exist":
            return key not in labels
        case _:
            return False  # refused by the API; a row changed by hand fits nobody
