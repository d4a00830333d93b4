"""Changing the encryption key (auth.md section 8)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.cipher import Cipher, configured_cipher, key_id_of
from apps.keys import secret_store
from apps.keys.models import Key, SecretValue
from apps.keys.rotation import rotate, unknown_keys
from apps.keys.services import plain_value, update_key
from attune.housekeeping import Housekeeping
from attune.preflight import check_encryption
from settings.env import CannotStart
from tests.factories import make_key

pytestmark = pytest.mark.django_db

OLD, NEW = "the old encryption key, forty characters!", "the new encryption key, forty characters!"


@pytest.fixture(autouse=True)
def old_key(settings: Any) -> None:
    settings.ENCRYPTION_KEY, settings.ENCRYPTION_PREVIOUS_KEYS = OLD, []


def change_key(settings: Any, *previous: str) -> None:
    settings.ENCRYPTION_KEY, settings.ENCRYPTION_PREVIOUS_KEYS = NEW, list(previous)


def make_secrets(number: int) -> None:
    for index in range(number):
        make_key(ref=f"key{index}", value={"n": index}, encrypted=True)
        secret_store.put("execution_config", index, {"/a": index, "/b": [index]})
    make_key(ref="plain", value="seen")


def values() -> dict[str, Any]:
    return {key.ref: plain_value(key) for key in Key.objects.all()}


def command(*words: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("rotate_keys", *words, stdout=out, stderr=err)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_everything_is_encrypted_anew_and_nothing_else_changes(settings: Any) -> None:
    make_secrets(5)
    before = {key.pk: (key.version, key.updated) for key in Key.objects.all()}
    change_key(settings, OLD)

    code, out, _err = command("--batch", "2")

    assert (code, out.splitlines()[-1]) == (0, "15 values encrypted anew.")
    assert out.splitlines()[:3] == ["  2 keys", "  4 keys", "  5 keys"]
    change_key(settings)
    assert values() == {**{f"key{index}": {"n": index} for index in range(5)}, "plain": "seen"}
    assert [secret_store.get("execution_config", index) for index in range(5)] == [
        {"/a": index, "/b": [index]} for index in range(5)
    ]
    assert {key.pk: (key.version, key.updated) for key in Key.objects.all()} == before
    assert set(SecretValue.objects.values_list("encryption_key_hash", flat=True)) == {key_id_of(NEW)}
    assert command() == (0, "Nothing had to be encrypted anew.\n", "")


def test_both_keys_read_while_it_goes_on(settings: Any) -> None:
    make_secrets(3)
    change_key(settings, OLD)

    for _batch in range(3):
        with _stopped_after_one_batch():
            rotate(batch=1)
        assert values()["key0"] == {"n": 0}
        assert values()["key2"] == {"n": 2}

    assert Key.objects.filter(encryption_key_hash=key_id_of(OLD)).count() == 0
    assert rotate(batch=1).complete


@contextmanager
def _stopped_after_one_batch() -> Iterator[None]:
    """Let the process die at the first word about a batch."""

    class Died(Exception):
        pass

    def die(_noun: str, _number: int) -> None:
        raise Died

    defaults, rotate.__kwdefaults__ = rotate.__kwdefaults__, {**rotate.__kwdefaults__, "tell": die}
    try:
        yield
    except Died:
        pass
    finally:
        rotate.__kwdefaults__ = defaults


def test_what_cannot_be_decrypted_is_told_and_stays(settings: Any) -> None:
    make_secrets(2)
    stranger = Cipher("a key string that nobody has any more!!!!")
    lost = make_key(ref="lost", value="x", encrypted=True)
    Key.objects.filter(pk=lost.pk).update(value=stranger.encrypt("x"), encryption_key_hash=stranger.key_id)
    Key.objects.filter(ref="key0").update(value="damaged")
    Key.objects.filter(ref="key1").update(encryption_key_hash=None)
    change_key(settings, OLD)

    code, out, err = command()

    assert (code, out.splitlines()[-1]) == (
        1, "4 values encrypted anew; 3 could not be decrypted and stay as they are:",
    )  # fmt: skip
    assert sorted(line.strip()[:36] for line in err.splitlines()) == [
        "key0: The encrypted value was cut or",
        "key1: It does not say with which key",
        f"lost: Encrypted with key {stranger.key_id[:11]}",
    ]
    assert "damaged" not in err

    code, out, _err = command("--delete-unreadable")
    assert (code, out.splitlines()[0]) == (1, "Deleted 1 keys whose encryption key is not configured.")
    assert not Key.objects.filter(ref="lost").exists()


@pytest.mark.django_db(transaction=True)
def test_under_concurrent_writes_nothing_is_lost(settings: Any) -> None:
    """Writers of the new configuration and of the old one; two rotations at once."""
    keys = [make_key(ref=f"key{index}", value=0, encrypted=True) for index in range(6)]
    old = Cipher(OLD)
    change_key(settings, OLD)
    last: dict[int, int] = {}
    faults: list[BaseException] = []
    stopping = threading.Event()

    def guarded(work: Any) -> Any:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # for the test to show
                faults.append(error)
            finally:
                connections.close_all()

        return run

    def write_anew() -> None:
        for number in range(1, 26):
            for key in keys[:3]:
                update_key(key, value=number)
                last[key.pk] = number

    def write_as_before() -> None:
        for number in range(1, 26):
            for key in keys[3:]:
                with transaction.atomic():
                    Key.objects.select_for_update().get(pk=key.pk)
                    Key.objects.filter(pk=key.pk).update(value=old.encrypt(number), encryption_key_hash=old.key_id)
                last[key.pk] = number

    def turn() -> None:
        while not stopping.is_set():
            rotate(batch=2)

    writers = [threading.Thread(target=guarded(work)) for work in (write_anew, write_as_before)]
    rotations = [threading.Thread(target=guarded(turn)) for _number in range(2)]
    for thread in (*writers, *rotations):
        thread.start()
    for thread in writers:
        thread.join()
    stopping.set()
    for thread in rotations:
        thread.join()

    assert faults == []
    assert rotate().complete
    change_key(settings)
    assert {key.pk: plain_value(key) for key in Key.objects.all()} == last == dict.fromkeys(last, 25)
    assert set(Key.objects.values_list("encryption_key_hash", flat=True)) == {key_id_of(NEW)}


# --- At the start -----------------------------------------------------------------------------------------------


def test_a_start_without_the_key_is_refused(settings: Any) -> None:
    make_secrets(2)
    check_encryption()
    change_key(settings, OLD)
    check_encryption()
    change_key(settings)

    with pytest.raises(CannotStart) as refusal:
        check_encryption()

    needed = f"{key_id_of(OLD)[:16]}..."
    assert str(refusal.value).startswith(
        f"The database holds keys encrypted with key {needed}; secret values encrypted with key {needed}, which is not "
        "configured. Set ATTUNE_ENCRYPTION_KEY to "
    )
    assert OLD not in str(refusal.value)
    command("--delete-unreadable")
    check_encryption()


def test_the_check_costs_the_same_for_any_number_of_values() -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert unknown_keys() == []
        return len(captured)

    make_secrets(1)
    few = queries()
    for index in range(20):
        secret_store.put("execution_config", 100 + index, {"/a": 1})

    assert queries() == few == 4


def test_housekeeping_removes_expired_keys() -> None:
    make_key(ref="gone", expires_at=timezone.now() - timedelta(seconds=1))
    make_key(ref="here", expires_at=timezone.now() + timedelta(hours=1))

    Housekeeping().turn()

    assert list(Key.objects.values_list("ref", flat=True)) == ["here"]


def test_the_cipher_of_the_settings_is_checked_before_it_is_used() -> None:
    assert configured_cipher().decrypt(configured_cipher().encrypt([1]), key_id_of(OLD)) == [1]
