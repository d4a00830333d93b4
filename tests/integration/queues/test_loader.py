"""Queues that come with packs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from apps.packs.models import Pack
from apps.packs.services import register_pack
from apps.queues.models import WorkQueue, WorkQueueItem
from tests.factories import make_item, make_queue, make_runtime

pytestmark = pytest.mark.django_db

LEAST = "ref: mail\nlabel: Mail\ndispatch_action: send\n"
FULL = """\
ref: shop.mail
label: Mail
description: d
enabled: false
accepting_new_items: false
default_priority: 7
allow_pending_update: true
update_strategy: merge_patch
batch_mode: batch
item_schema: {to: {type: string, required: true}}
action_params: {all: "{{ items }}"}
permission_set_refs: [standard, own]
config: {dispatch: {retry_limit: 3, batch_size: {source: literal, value: 5}}}
max_depth: 9
dispatch_action: shop.send
"""
Register = Callable[..., list[str]]


@pytest.fixture
def register(tmp_path: Path) -> Register:
    """Register a pack with these queue files (by name); what is not named is gone from its folder."""
    make_runtime()
    pack = tmp_path / "shop"
    for folder in ("queues", "actions"):
        (pack / folder).mkdir(parents=True)
    (pack / "pack.yaml").write_text("ref: shop\nversion: 1.0.0\n")
    (pack / "actions" / "send.yaml").write_text("entry_point: 'true'\n")

    def registered(**files: str) -> list[str]:
        for old in (pack / "queues").iterdir():
            old.unlink()
        for name, text in files.items():
            (pack / "queues" / f"{name}.yaml").write_text(text)
        return [warning["message"] for warning in register_pack(pack, force=True).warnings]

    return registered


def test_a_queue_with_the_least(register: Register) -> None:
    assert register(mail=LEAST) == []

    queue = WorkQueue.objects.get()
    assert (queue.ref, queue.label, queue.pack_ref, queue.dispatch_action_ref) == (
        "shop.mail", "Mail", "shop", "shop.send"
    )  # fmt: skip
    assert queue.dispatch_action is not None
    assert (queue.is_adhoc, queue.owner_identity, queue.enabled, queue.permission_set_refs) == (
        False,
        None,
        True,
        None,
    )


def test_a_queue_with_everything(register: Register) -> None:
    assert register(mail=FULL) == []

    queue = WorkQueue.objects.get()
    assert (queue.enabled, queue.accepting_new_items, queue.default_priority, queue.max_depth) == (False, False, 7, 9)
    assert (queue.allow_pending_update, queue.update_strategy, queue.batch_mode) == (True, "merge_patch", "batch")
    assert queue.permission_set_refs == ["standard", "shop.own"]
    assert queue.config["dispatch"]["retry_limit"] == 3
    assert (queue.action_params, queue.item_schema["to"]["type"]) == ({"all": "{{ items }}"}, "string")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (LEAST + "colour: red\n", "unknown key 'colour'; known are "),
        ("label: Mail\ndispatch_action: send\n", "ref is required"),
        ("ref: mail\ndispatch_action: send\n", "label is required"),
        ("ref: mail\nlabel: Mail\n", "dispatch_action is required"),
        ("ref: mail\nlabel: Mail\ndispatch_action: none\n", "there is no action 'shop.none'"),
        (LEAST + "config: {speed: 1}\n", "config.speed is unknown; known are dispatch, ack_contract"),
        (LEAST + "batch_mode: several\n", "batch_mode must be one of single, batch"),
        (LEAST + "max_depth: 0\n", "max_depth must be from 1 to 2147483647"),
        (LEAST + "config: {dispatch: {coalescing: {enabled: true}}}\n",
         "config.dispatch.coalescing is allowed only with batch_mode 'batch'"),
    ],
)  # fmt: skip
def test_a_faulty_file(register: Register, text: str, warning: str) -> None:
    (found,) = register(mail=text)

    assert found.startswith(warning)
    assert not WorkQueue.objects.exists()


def test_the_same_pack_again(register: Register) -> None:
    register(mail=LEAST)
    queue = WorkQueue.objects.get()
    queue.set(enabled=False)
    item = make_item(queue, item_key="k")

    assert register(mail=LEAST + "default_priority: 5\nallow_pending_update: true\n") == []

    queue.refresh_from_db()
    item.refresh_from_db()
    assert (queue.default_priority, queue.enabled, item.pending_key) == (5, False, "k")


def test_an_update_that_the_items_forbid_changes_nothing(register: Register) -> None:
    register(mail=LEAST)
    queue = WorkQueue.objects.get()
    make_item(queue, item_key="k"), make_item(queue, item_key="k")

    (warning,) = register(mail=LEAST + "allow_pending_update: true\n")

    queue.refresh_from_db()
    assert warning.startswith("Several items wait with the same key")
    assert queue.allow_pending_update is False


@pytest.mark.parametrize("is_adhoc", [True, False])
def test_what_is_no_longer_there_goes(register: Register, is_adhoc: bool) -> None:
    register(mail=LEAST)
    make_item(WorkQueue.objects.get())
    own = make_queue(ref="shop.own", pack=Pack.objects.get(ref="shop"), pack_ref="shop", is_adhoc=is_adhoc)

    assert register() == []

    assert list(WorkQueue.objects.all()) == [own]
    assert not WorkQueueItem.objects.exists()


def test_a_pack_takes_its_queues_along(register: Register) -> None:
    register(mail=LEAST)
    pack = Pack.objects.get(ref="shop")
    adhoc = make_queue(ref="shop.own", pack=pack, pack_ref="shop")

    pack.delete()

    adhoc.refresh_from_db()
    assert list(WorkQueue.objects.all()) == [adhoc]
    assert (adhoc.pack, adhoc.pack_ref) == (None, None)
