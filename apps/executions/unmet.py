"""Which demand no worker meets, in words: the message of an execution that is unschedulable."""

from collections.abc import Iterable, Sequence
from typing import Any

from apps.executions.models import Demand
from apps.workers.fitness import NEVER, Offer, has_version, required_runtimes


def unmet_demand(demand: Demand, offers: Sequence[Offer], rejections: Sequence[str | None]) -> str:
    """Return the sentence that says which demand no worker meets."""
    wanted = demand.requirements
    reasons = {why for why in rejections if why is not None}
    told = reasons - NEVER or reasons  # where some would fit, the others' shortcomings are not why it fails
    if "runtime_version" in told and not _missing_runtimes(wanted, offers):
        told.discard("runtime")  # there are workers that have it
    texts = {
        "role": "no worker runs actions",
        "runtime": _missing_runtime(wanted, offers),
        "runtime_version": _missing_version(wanted, offers),
        "selector": f"no worker has the labels {_pairs(wanted['selector'] or {})}",
        "taint": "every worker has a taint that is not tolerated",
        "affinity": "no worker meets the affinity",
        "offline": "every worker that fits is offline",
        "cordoned": "every worker that fits is cordoned",
    }
    return "; ".join(text for why, text in texts.items() if why in told) or "no worker is registered"


def _missing_runtime(wanted: dict[str, Any], offers: Sequence[Offer]) -> str:
    missing = _missing_runtimes(wanted, offers)
    if missing:
        available = sorted({name for offer in offers for name in offer.runtimes})
        return f"no worker offers the runtime {' and '.join(missing)} (available: {', '.join(available) or 'none'})"
    own = wanted.get("runtime")
    together = [*([" or ".join(own)] if own else []), *(name for name, _, _ in required_runtimes(wanted))]
    return f"no worker offers all of the runtimes {', '.join(together)}"


def _missing_runtimes(wanted: dict[str, Any], offers: Sequence[Offer]) -> list[str]:
    own = wanted.get("runtime")
    missing = [] if own is None or _any_offered(own, offers) else [" or ".join(own)]
    return missing + [name for name, names, _ in required_runtimes(wanted) if not _any_offered(names, offers)]


def _any_offered(names: Iterable[str], offers: Sequence[Offer]) -> bool:
    return any(name in offer.runtimes for name in names for offer in offers)


def _missing_version(wanted: dict[str, Any], offers: Sequence[Offer]) -> str:
    constraint = wanted.get("version")
    own = wanted.get("runtime") or []
    if constraint and not any(has_version(offer, own, constraint) for offer in offers):
        return f"no worker offers a version that satisfies {constraint}"
    missing = {
        name: needed
        for name, names, needed in required_runtimes(wanted)
        if not any(has_version(offer, names, needed) for offer in offers)
    }
    if missing:
        needed = " and ".join(f"{name} that satisfies {constraint}" for name, constraint in missing.items())
        return f"no worker offers a version of {needed}"
    return "no worker offers all of the versions together"


def _pairs(labels: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())
