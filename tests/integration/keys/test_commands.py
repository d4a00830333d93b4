"""``key_set``, ``key_get`` and ``key_list``."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.keys.models import Key
from apps.keys.services import plain_value
from tests.factories import make_action, make_identity, make_key, make_pack, make_sensor

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*words: str, given: str = "") -> str:
        out = StringIO()
        monkeypatch.setattr("sys.stdin", StringIO(given))
        call_command(*words, stdout=out)
        return out.getvalue()

    return run


def refusal(run: Any, *words: str, given: str = "") -> tuple[str, int]:
    with pytest.raises(CommandError) as refused:
        run(*words, given=given)
    return str(refused.value), refused.value.returncode


def test_a_value_from_a_pipe_is_stored_encrypted(run: Any) -> None:
    assert run("key_set", "db.password", given="hush ü\n") == "Key db.password was created (encrypted).\n"

    key = Key.objects.get()
    assert (key.owner_type, key.name, key.encrypted, plain_value(key)) == ("system", "password", True, "hush ü")
    assert run("key_get", "db.password", "--decrypt") == "hush ü\n"


def test_a_value_from_a_file(run: Any, tmp_path: Path) -> None:
    (tmp_path / "value").write_text("one\ntwo\n\n")

    run("key_set", "a", "--plain", "--file", str(tmp_path / "value"))

    assert Key.objects.get().value == "one\ntwo\n"
    assert refusal(run, "key_set", "b", "--file", "/nowhere") == (
        "The file '/nowhere' cannot be read: No such file or directory.", 2,
    )  # fmt: skip


def test_json(run: Any) -> None:
    run("key_set", "a", "--plain", "--json", given='{"n": [1, null]}')

    assert Key.objects.get().value == {"n": [1, None]}
    assert run("key_get", "a") == '{"n": [1, null]}\n'
    assert refusal(run, "key_set", "a", "--json", given="{")[1] == 2


def test_a_new_value_of_a_key_that_exists(run: Any) -> None:
    make_key(make_pack(ref="shop"), ref="a", name="kept", value="old")

    assert run("key_set", "a", given="new") == "Key a has a new value, version 2 (plain).\n"
    assert run("key_set", "a", "--encrypted", "--pack", "shop", given="newer") == (
        "Key a has a new value, version 3 (encrypted).\n"
    )
    key = Key.objects.get()
    assert (key.name, key.owner_type, plain_value(key)) == ("kept", "pack", "newer")


@pytest.mark.parametrize(
    ("option", "make"),
    [("pack", make_pack), ("action", make_action), ("sensor", make_sensor), ("identity", make_identity)],
)
def test_owners(run: Any, option: str, make: Any) -> None:
    owner = make()
    name = owner.login if option == "identity" else owner.ref

    run("key_set", "a", f"--{option}", name, given="x")

    assert (Key.objects.get().owner_type, Key.objects.get().owner) == (option, str(owner.pk))
    assert refusal(run, "key_set", "b", f"--{option}", "no.body", given="x")[1] == 2
    assert refusal(run, "key_set", "a", "--pack", make_pack().ref, given="x") == (
        "Key 'a' exists and belongs to somebody else; choose another ref.", 2,
    )  # fmt: skip


def test_the_end(run: Any) -> None:
    run("key_set", "a", "--expires", "2999-01-31", given="x")
    assert f"{Key.objects.get().expires_at:%Y-%m-%d}" == "2999-01-31"
    run("key_set", "a", given="y")
    assert Key.objects.get().expires_at is not None
    run("key_set", "a", "--expires", "never", given="z")
    assert Key.objects.get().expires_at is None
    assert refusal(run, "key_set", "a", "--expires", "soon", given="z")[1] == 2


def test_refs_that_are_none(run: Any) -> None:
    assert refusal(run, "key_set", "Upper", given="x") == ("Ref 'Upper' must be lower case.", 2)
    assert refusal(run, "key_get", "absent") == ("There is no key 'absent'.", 2)


def test_an_encrypted_value_takes_a_word(run: Any) -> None:
    make_key(ref="a", value="hush", encrypted=True)

    assert refusal(run, "key_get", "a") == ("Key 'a' is encrypted; --decrypt prints it.", 2)
    assert json.loads(run("key_get", "a", "--json"))["value"] is None
    assert json.loads(run("key_get", "a", "--json", "--decrypt"))["value"] == "hush"


def test_list(run: Any) -> None:
    assert run("key_list").startswith("There are no keys.")
    make_key(make_pack(ref="shop"), ref="b.one", name="one", value="hush", encrypted=True)
    make_key(ref="a", name="a", expires_at=timezone.now() + timedelta(days=400))
    make_key(ref="gone", expires_at=timezone.now() - timedelta(seconds=1))

    lines = run("key_list").splitlines()

    assert [line.split()[:6] for line in lines[1:]] == [
        ["a", "a", "system", "-", "no", "1"], ["b.one", "one", "pack", "shop", "yes", "1"],
    ]  # fmt: skip
    assert [row["ref"] for row in json.loads(run("key_list", "--json", "--owner-type", "pack"))] == ["b.one"]
    assert "hush" not in "".join(lines)
