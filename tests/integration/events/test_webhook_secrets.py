"""Where the secrets of a webhook are kept (events.md 10.3, auth.md section 10)."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.core.cipher import Cipher
from apps.core.markers import MARKER
from apps.events.models import Trigger
from apps.keys import secret_store
from apps.keys.models import Key, SecretValue
from tests import senders
from tests.clients import signed_in
from tests.factories import grant, make_holder, make_key
from tests.webhooks import make_webhook, post, told

pytestmark = pytest.mark.django_db(transaction=True)

WRAPPED = b'{"payload": {"n": 1}}'
SECRET = "hush-4711-hush"


def put(trigger: Trigger, client: Any = None, **sections: Any) -> Any:
    answer = (client or signed_in()).put(f"/api/v1/triggers/{trigger.ref}/webhooks", {"webhook_config": sections})
    trigger.refresh_from_db()
    return answer


def send(secret: str = SECRET) -> tuple[int, Any]:
    answer = post(WRAPPED, headers=senders.plain(secret, WRAPPED))
    return (200, None) if answer.status_code == 200 else told(answer)


def lock_away(rows: Any, column: str) -> None:
    cipher = Cipher("another key string of forty characters!!")
    rows.update(**{column: cipher.encrypt(SECRET), "encryption_key_hash": cipher.key_id})


NO_SECRET = (401, "Signature verification failed: there is no secret to verify it with")
WRONG = (401, "Invalid webhook signature")


def test_the_column_holds_markers_and_the_values_are_encrypted() -> None:
    trigger, end = make_webhook(), "2999-01-01T00:00:00Z"
    put(trigger, hmac={"secret": SECRET, "previous_secret": "before-4711", "previous_secret_expires_at": end})

    assert trigger.webhook_config["hmac"]["secret"] == trigger.webhook_config["hmac"]["previous_secret"] == MARKER
    assert secret_store.get("webhook_config", trigger.pk) == {
        "/hmac/secret": SECRET, "/hmac/previous_secret": "before-4711",
    }  # fmt: skip
    assert "4711" not in str(list(SecretValue.objects.values()))
    assert (send(), send("before-4711"), send("wrong")) == ((200, None), (200, None), WRONG)


def test_what_is_kept_goes_with_the_section_and_with_the_trigger() -> None:
    trigger = make_webhook()
    put(trigger, hmac={"secret": SECRET})
    put(trigger, hmac={"secret": MARKER, "algorithm": "sha512"}, rate_limit={"requests": 10})
    assert SecretValue.objects.count() == 1

    put(trigger, hmac=None)
    assert not SecretValue.objects.exists()
    put(trigger, hmac={"secret": SECRET})
    trigger.delete()
    assert not SecretValue.objects.exists()


def test_a_plain_secret_in_the_column_is_put_away_with_the_next_change() -> None:
    trigger = make_webhook({"hmac": {"secret": SECRET}})
    assert send() == (200, None)

    put(trigger, rate_limit={"requests": 100})

    assert (trigger.webhook_config["hmac"], send()) == ({"secret": MARKER}, (200, None))


def test_a_secret_that_cannot_be_decrypted_admits_nobody() -> None:
    trigger = make_webhook()
    put(trigger, hmac={"secret": SECRET})
    lock_away(SecretValue.objects, "encrypted_value")

    assert send() == NO_SECRET
    assert put(trigger, hmac={"secret": MARKER}).status_code == 422
    assert put(trigger, rate_limit={"requests": 100}).status_code == 200
    assert SecretValue.objects.count() == 1  # its key may be found again
    assert (put(trigger, hmac={"secret": "new-4712"}).status_code, send("new-4712")) == (200, (200, None))


# --- From a Key -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_secret_from_a_key(encrypted: bool) -> None:
    trigger, key = make_webhook(), make_key(ref="shop.hook", value=SECRET, encrypted=encrypted)

    assert put(trigger, hmac={"secret_key_ref": "shop.hook"}).status_code == 200
    assert trigger.webhook_config["hmac"]["secret_key_ref"] == "shop.hook"
    assert not SecretValue.objects.exists()
    assert (send(), send("wrong")) == ((200, None), WRONG)
    signed_in().put("/api/v1/keys/shop.hook", {"value": "other-4712"})
    assert (send(), send("other-4712")) == (WRONG, (200, None))
    Key.objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert send("other-4712") == NO_SECRET


def test_a_key_that_cannot_be_had_admits_nobody() -> None:
    trigger = make_webhook({"hmac": {"secret_key_ref": "shop.hook", "secret": SECRET}})
    assert send() == NO_SECRET
    key = make_key(ref="shop.hook", value={"no": "text"}, encrypted=True)
    assert send() == NO_SECRET
    lock_away(Key.objects.filter(pk=key.pk), "value")
    assert send() == NO_SECRET
    assert trigger.pk


def test_whoever_names_a_key_must_be_able_to_read_it() -> None:
    trigger = make_webhook()
    make_key(ref="secret", value=SECRET, encrypted=True)
    make_key(ref="number", value=5)
    reader = signed_in(make_holder(grant("triggers:update"), grant("keys:read")))
    nobody = signed_in(make_holder(grant("triggers:update")))

    for client, ref, status in (
        (reader, "secret", 422), (nobody, "secret", 422), (None, "absent", 422), (None, "number", 422),
        (None, "secret", 200),
    ):  # fmt: skip
        answer = put(trigger, client, hmac={"secret_key_ref": ref})
        assert answer.status_code == status, ref
        if status == 422:
            assert answer.json()["details"][0]["field"] == "webhook_config.hmac.secret_key_ref"
