"""What is stored of a secret, and that it comes back with the right key only."""

import json
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from apps.core.cipher import CannotDecrypt, Cipher, CipherIsBroken, UnknownKey, configured_cipher, key_id_of

KEY = "k" * 40
OLD_KEY = "o" * 40

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_value_comes_back(value: Any) -> None:
    cipher = Cipher(KEY)

    assert cipher.decrypt(cipher.encrypt(value), cipher.key_id) == value


def test_text_is_base64_of_nonce_ciphertext_and_tag() -> None:
    sealed = b64decode(Cipher(KEY).encrypt({"a": ["ä", 1]}))

    plain = AESGCM(sha256(KEY.encode()).digest()).decrypt(sealed[:12], sealed[12:], None)
    assert plain == '{"a":["ä",1]}'.encode()
    assert len(sealed) == 12 + len(plain) + 16


def test_text_made_elsewhere_is_read() -> None:
    nonce = b"\x07" * 12
    sealed = AESGCM(sha256(KEY.encode()).digest()).encrypt(nonce, b'"hush"', None)

    assert Cipher(KEY).decrypt(b64encode(nonce + sealed).decode(), key_id_of(KEY)) == "hush"


def test_lone_surrogate_survives() -> None:
    cipher = Cipher(KEY)

    assert cipher.decrypt(cipher.encrypt("\ud800"), cipher.key_id) == "\ud800"


def test_key_id_is_the_hash_of_the_key_string() -> None:
    assert Cipher(KEY).key_id == sha256(KEY.encode()).hexdigest()


def test_same_value_is_never_the_same_text() -> None:
    cipher = Cipher(KEY)

    assert len({cipher.encrypt("hush") for _ in range(100)}) == 100


def test_previous_key_decrypts_and_does_not_encrypt() -> None:
    cipher = Cipher(KEY, [OLD_KEY])
    stored = Cipher(OLD_KEY).encrypt("hush")

    assert cipher.decrypt(stored, key_id_of(OLD_KEY)) == "hush"
    assert cipher.key_id == key_id_of(KEY)
    assert cipher.key_ids == {key_id_of(KEY), key_id_of(OLD_KEY)}
    with pytest.raises(UnknownKey):
        Cipher(OLD_KEY).decrypt(cipher.encrypt("hush"), cipher.key_id)


def test_unknown_key_is_named_before_anything_is_decrypted() -> None:
    with pytest.raises(UnknownKey) as refusal:
        Cipher(KEY).decrypt("not even base64", key_id_of(OLD_KEY))

    assert key_id_of(OLD_KEY)[:16] in str(refusal.value)
    assert "ATTUNE_ENCRYPTION_PREVIOUS_KEYS" in str(refusal.value)


@pytest.mark.parametrize("position", [0, 12, -1])
def test_changed_text_is_refused(position: int) -> None:
    cipher = Cipher(KEY)
    sealed = bytearray(b64decode(cipher.encrypt("hush")))
    sealed[position] ^= 1

    with pytest.raises(CannotDecrypt):
        cipher.decrypt(b64encode(sealed).decode(), cipher.key_id)


@pytest.mark.parametrize("stored", ["", "AAAA", "?", "é", b64encode(bytes(28)).decode(), 7, None])
def test_what_was_never_encrypted_is_refused(stored: Any) -> None:
    with pytest.raises(CannotDecrypt):
        Cipher(KEY).decrypt(stored, key_id_of(KEY))


def test_value_that_is_no_json_is_not_shown_by_the_error() -> None:
    nonce = b"\x07" * 12
    sealed = AESGCM(sha256(KEY.encode()).digest()).encrypt(nonce, b"hush", None)

    with pytest.raises(CannotDecrypt) as refusal:
        Cipher(KEY).decrypt(b64encode(nonce + sealed).decode(), key_id_of(KEY))

    assert "hush" not in str(refusal.value)
    assert refusal.value.__suppress_context__


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_value_that_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        Cipher(KEY).encrypt(value)


def test_keys_are_not_in_the_representation() -> None:
    assert KEY not in repr(Cipher(KEY)) + repr(vars(Cipher(KEY)))


class Plain(Cipher):
    """Stores the value as it is."""

    def encrypt(self, value: Any) -> str:
        return b64encode(json.dumps(value).encode().ljust(100)).decode()


class Forgetful(Cipher):
    """Decrypts to something else."""

    def decrypt(self, stored: str, key_id: str) -> Any:
        return "something"


@pytest.mark.parametrize("broken", [Plain, Forgetful])
def test_self_test_notices_what_is_broken(broken: type[Cipher]) -> None:
    Cipher(KEY).check()

    with pytest.raises(CipherIsBroken):
        broken(KEY).check()


def test_configured_cipher_follows_the_settings(settings: Any) -> None:
    settings.ENCRYPTION_KEY = OLD_KEY
    settings.ENCRYPTION_PREVIOUS_KEYS = []
    stored = configured_cipher().encrypt("hush")

    settings.ENCRYPTION_KEY = KEY
    settings.ENCRYPTION_PREVIOUS_KEYS = [OLD_KEY]

    assert configured_cipher().key_id == key_id_of(KEY)
    assert configured_cipher().decrypt(stored, key_id_of(OLD_KEY)) == "hush"
