"""
The ``config`` of the execution that works off items (execution.md section 18).

Secrets of payloads keep their real values where the action's schema calls the parameter secret, and go nowhere else.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.actions.models import Action
from apps.core.cipher import CannotDecrypt
from apps.core.expressions import Scope
from apps.core.markers import Path, emptied
from apps.core.schemas import secret_paths
from apps.packs.secrets import real_config, secret_settings
from apps.queues.config import ACK_VERSION
from apps.queues.models import BatchMode, WorkQueue, WorkQueueItem
from apps.queues.payloads import real_payloads, secret_places
from apps.rules.judging import storable
from apps.rules.mapping import SecretScope, render_params

logger = logging.getLogger(__name__)


class CannotRender(Exception):
    """The items cannot be handed to the action; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Items that go to one execution; their ``attempt_count`` is the one of this attempt."""

    queue: WorkQueue
    action: Action
    dispatch_id: int
    items: Sequence[WorkQueueItem]

    @property
    def is_batch(self) -> bool:
        return self.queue.batch_mode == BatchMode.BATCH


def execution_config(lease: Lease) -> dict[str, Any]:
    """Return the parameters of the execution. Raises CannotRender."""
    try:
        real = real_payloads(lease.items)
    except CannotDecrypt as error:
        raise CannotRender(f"The secrets of the payload cannot be decrypted. {error}") from None
    payloads = [real[item.pk] for item in lease.items]
    given = _rendered(lease, payloads) if lease.queue.action_params else _plain(lease, payloads)
    return {**given, **_added(lease)}


def _plain(lease: Lease, payloads: Sequence[Any]) -> dict[str, Any]:
    given: dict[str, Any]
    prefixes: list[Path]
    if lease.is_batch:
        given, prefixes = {"items": list(payloads)}, [("items", index) for index in range(len(payloads))]
    elif isinstance(payloads[0], dict):
        given, prefixes = dict(payloads[0]), [()]
    else:
        given, prefixes = {"item": payloads[0]}, [("item",)]
    _refuse_open_secrets(lease, given, prefixes)
    return given


def _refuse_open_secrets(lease: Lease, given: Mapping[str, Any], prefixes: Sequence[Path]) -> None:
    places = [
        (*prefix, *place)
        for item, prefix in zip(lease.items, prefixes, strict=True)
        for place in secret_places(item.payload)
    ]
    schema = lease.action.param_schema
    secret = secret_paths(schema, given) if places and schema else []
    open_places = [place for place in places if not any(place[: len(known)] == known for known in secret)]
    if open_places:
        named = ", ".join(".".join(map(str, place)) for place in open_places[:10])
        raise CannotRender(f"Secret value cannot be assigned to non-secret parameter path(s): {named}")


def _rendered(lease: Lease, payloads: Sequence[Any]) -> dict[str, Any]:
    shown = [emptied(item.payload, secret_places(item.payload)) for item in lease.items]
    params, schema = lease.queue.action_params, lease.action.param_schema
    places = secret_paths(schema, params) if schema else ()
    secret = SecretScope(scope=_scope(lease, payloads, with_secrets=True), places=places)
    rendered = render_params(params, _scope(lease, shown), secret=secret)
    if rendered.error is not None:
        raise CannotRender(rendered.error)
    for warning in rendered.warnings:
        logger.info("Queue %s, action_params.%s: %s", lease.queue.ref, warning["path"], warning["error"])
    params_made: dict[str, Any] = storable(rendered.value)
    return params_made


def _scope(lease: Lease, payloads: Sequence[Any], *, with_secrets: bool = False) -> Scope:
    entries = [{**_entry(item), "payload": payload} for item, payload in zip(lease.items, payloads, strict=True)]
    roots: dict[str, Any] = {
        "queue": _queue_root(lease),
        "config": _pack_config(lease.queue, with_secrets=with_secrets),
        "keystore": {},
    }
    if lease.is_batch:
        roots |= {"items": list(payloads), "queue_items": entries}
    else:
        roots |= {"item": payloads[0], "queue_item": entries[0]}
    return Scope(roots=roots)


def _pack_config(queue: WorkQueue, *, with_secrets: bool) -> dict[str, Any]:
    if queue.pack is None:
        return {}
    hidden = secret_settings(queue.pack)
    config: Mapping[str, Any] = queue.pack.config
    if with_secrets and hidden:
        try:
            return dict(real_config(queue.pack))
        except CannotDecrypt as error:
            logger.error("Secret settings of pack %s cannot be decrypted. %s", queue.pack.ref, error)
    return {name: value for name, value in config.items() if name not in hidden}


def _added(lease: Lease) -> dict[str, Any]:
    entries = [_entry(item) for item in lease.items]
    if lease.is_batch:
        return {"queue": _queue_root(lease), "queue_items": entries}
    return {"queue": _queue_root(lease), "queue_item": entries[0]}


def _queue_root(lease: Lease) -> dict[str, Any]:
    return {
        "id": lease.queue.pk,
        "ref": lease.queue.ref,
        "dispatch": lease.dispatch_id,
        "items": [_named(item) for item in lease.items],
        "ack_contract_version": ACK_VERSION,
    }


def _named(item: WorkQueueItem) -> dict[str, Any]:
    return {
        "id": item.pk,
        "item_key": item.item_key,
        "priority": item.priority,
        "attempt_count": item.attempt_count,
    }


def _entry(item: WorkQueueItem) -> dict[str, Any]:
    """Return an item as its process sees it; where its payload is secret, a marker."""
    return {**_named(item), "payload": item.payload, "metadata": item.metadata}
