"""Which keys a run of an action is given, and how (execution.md section 8)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.actions.models import Action
from apps.core.cipher import Cipher
from apps.executions.models import Execution
from apps.executions.services import ExecutionRequest, request_execution
from apps.executions.states import TERMINAL
from apps.keys.ambient import AmbientKeys, KeyNotReadable, ambient_keys
from apps.keys.models import Key
from apps.keys.secret_store import SecretValue
from tests.clients import bearing
from tests.factories import make_action, make_admin, make_key, make_pack, make_runtime, make_sensor
from tests.processes import wait_until

SECRET = "hush-4711-hush"


def of(action: Action) -> AmbientKeys:
    return ambient_keys(pack_id=action.pack_id, action_id=action.pk, wanted=action.ambient_keys)


def lock_away(key: Key) -> None:
    """Encrypt the key with a key string that is not configured."""
    cipher = Cipher("another key string of forty characters!!")
    Key.objects.filter(pk=key.pk).update(value=cipher.encrypt("x"), encryption_key_hash=cipher.key_id)


@pytest.mark.django_db
def test_keys_of_system_pack_and_action_in_this_order() -> None:
    action, pack = make_action(), make_pack()
    for owner, value in ((None, "system"), (action.pack, "pack"), (action, "action")):
        make_key(owner, name="all", value=value)
    make_key(name="two", value="system")
    make_key(action.pack, name="two", value="pack", encrypted=True)
    make_key(name="one", value={"a": [None, 1]})
    for other in (pack, make_action(), make_sensor(), make_admin()):
        make_key(other, name="theirs", value="no")

    found = of(action)

    assert found.values == {"all": "action", "two": "pack", "one": {"a": [None, 1]}}
    assert found.secrets == ["pack"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wanted", "found"), [("all", {"a": 1, "b": 2}), ("none", {}), ([], {}), (["b", "absent"], {"b": 2})]
)
def test_an_action_may_want_fewer(wanted: Any, found: dict[str, Any]) -> None:
    make_key(name="a", value=1)
    make_key(name="b", value=2)

    assert of(make_action(ambient_keys=wanted)).values == found


@pytest.mark.django_db
def test_expired_keys_are_not_given() -> None:
    make_key(name="gone", expires_at=timezone.now() - timedelta(seconds=1))
    make_key(name="here", expires_at=timezone.now() + timedelta(hours=1))

    assert list(of(make_action()).values) == ["here"]


@pytest.mark.django_db
def test_they_take_one_query() -> None:
    action, nothing = make_action(), make_action(ambient_keys="none")
    for _number in range(3):
        make_key(action, encrypted=True)

    with CaptureQueriesContext(connection) as captured:
        of(action)
        of(nothing)

    assert len(captured) == 1


@pytest.mark.django_db
def test_one_that_cannot_be_decrypted_is_named() -> None:
    action = make_action()
    lock_away(make_key(ref="db.password", name="password", encrypted=True))

    with pytest.raises(KeyNotReadable, match=r"Key 'db.password' cannot be decrypted. Encrypted with key"):
        of(action)
    make_key(action, name="password", value="near")
    assert of(action).values == {"password": "near"}


# --- On a worker ------------------------------------------------------------------------------------------------


def run(action: Action, **request: Any) -> Execution:
    execution = request_execution(ExecutionRequest(action=action, **request))

    def ended() -> bool:
        execution.refresh_from_db()
        return execution.status in TERMINAL

    wait_until(ended, timeout_seconds=30, what=f"the end of {execution}")
    return execution


def shell(entrypoint: str, **fields: Any) -> Action:
    return make_action(entrypoint=entrypoint, runtime=make_runtime(ref="core.shell"), **fields)


@pytest.mark.usefixtures("worker")
@pytest.mark.django_db(transaction=True)
def test_a_program_gets_them_beside_its_parameters_and_never_in_its_environment() -> None:
    action = shell(
        """
        echo "$token $PARAM_TOKEN $region"
        printenv token PARAM_TOKEN region PARAM_REGION || echo none of them
        cat /proc/$$/environ /proc/$$/cmdline /proc/self/environ | grep -c 47[1]1 || true
        cat
        """
    )
    make_key(name="token", value=SECRET, encrypted=True)
    make_key(action.pack, name="region", value="eu")

    execution = run(action, parameters={"name": "x", "region": "us"})

    assert execution.result["stdout"].splitlines() == [
        "*** *** eu", "none of them", "0", '{"name":"x","region":"eu","token":"***"}',
    ]  # fmt: skip
    assert execution.config == {"name": "x", "region": "us"}
    assert not SecretValue.objects.exists()
    logs = settings.ARTIFACTS_DIR / f"execution_{execution.pk}"
    assert not [file for file in logs.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


@pytest.mark.usefixtures("worker")
@pytest.mark.django_db(transaction=True)
def test_an_execution_whose_keys_cannot_be_decrypted_fails_and_says_so() -> None:
    lock_away(make_key(ref="db.password", encrypted=True))

    failed = run(shell("true"))
    spared = run(shell("true", ambient_keys="none"))

    assert (failed.status, spared.status) == ("failed", "completed")
    assert failed.result["error"].startswith("KeyNotReadable: Key 'db.password' cannot be decrypted. Encrypted with")


@pytest.mark.usefixtures("worker")
@pytest.mark.django_db(transaction=True)
def test_standard_access_of_a_token_reaches_the_keys_of_action_and_pack(tmp_path: Path) -> None:
    action = shell(f'printf %s "$ATTUNE_API_TOKEN" > {tmp_path}/token', ambient_keys="none")
    make_key(action.pack, ref="of.pack", value=SECRET, encrypted=True)
    make_key(action, ref="of.action")
    make_key(ref="of.system")

    execution = run(action, permission_set_refs=["standard"], executor=make_admin())
    assert execution.status == "completed", execution.result
    client = bearing((tmp_path / "token").read_text())

    assert [row["ref"] for row in client.get("/api/v1/keys").json()["data"]] == ["of.action", "of.pack"]
    assert client.get("/api/v1/keys/of.pack").json()["data"]["value"] == SECRET
