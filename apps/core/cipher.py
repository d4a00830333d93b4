"""
How secrets are encrypted where they are stored (auth.md section 8).

AES-256-GCM under the SHA-256 of a key string. What is stored is a text, base64 of nonce, ciphertext and tag, and
beside it the id of the key. Pure but for ``configured_cipher``.
"""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
TAG_BYTES = 16
MISSING_KEY_HINT = "Set the key it was encrypted with in ATTUNE_ENCRYPTION_KEY or ATTUNE_ENCRYPTION_PREVIOUS_KEYS."


class CannotDecrypt(Exception):
    """The stored text is not what was encrypted: it was cut, changed, or is something else."""


class UnknownKey(CannotDecrypt):
    """No configured key has the id that was stored with the text."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"Encrypted with key {key_id[:16]}..., which is not configured. {MISSING_KEY_HINT}")


class CipherIsBroken(Exception):
    """Encrypting does not do what it should; nothing may be stored with it."""


def key_id_of(key: str) -> str:
    """Return the name by which a key string is known in the database; it does not give the key away."""
    return sha256(key.encode()).hexdigest()


class Cipher:
    """Encrypts with one key, decrypts with that and with older ones."""

    def __init__(self, key: str, previous_keys: Iterable[str] = ()) -> None:
        self.key_id = key_id_of(key)
        self._ciphers = {key_id_of(each): AESGCM(sha256(each.encode()).digest()) for each in (*previous_keys, key)}

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of all keys that can decrypt."""
        return frozenset(self._ciphers)

    def encrypt(self, value: Any) -> str:
        """
        Return the text to store for a JSON value, together with ``key_id``; never the same text twice.

        Raises ValueError or TypeError for what JSON cannot hold.
        """
        plain = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self.key_id].encrypt(nonce, plain.encode("utf-8", "surrogatepass"), None)
        return b64encode(nonce + sealed).decode()

    def decrypt(self, stored: str, key_id: str) -> Any:
        """Return the value that was encrypted. Raises UnknownKey, CannotDecrypt."""
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise UnknownKey(key_id)
        try:
            sealed = b64decode(stored, validate=True)
            plain = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
            return json.loads(plain.decode("utf-8", "surrogatepass"))
        except (ValueError, TypeError, InvalidTag):
            # Without the cause: its text could show a part of the value.
            raise CannotDecrypt("The encrypted value was cut or changed after it was stored.") from None

    def check(self) -> None:
        """Prove on a sample that what is stored is not the plain value and comes back. Raises CipherIsBroken."""
        sample = {"check": b64encode(os.urandom(24)).decode()}
        plain = sample["check"].encode()
        first, second = self.encrypt(sample), self.encrypt(sample)
        sealed = b64decode(first)
        if first == second or plain in sealed or len(sealed) <= NONCE_BYTES + TAG_BYTES + len(plain):
            raise CipherIsBroken("The self-test of the encryption failed: the ciphertext shows the value.")
        if any(self.decrypt(stored, self.key_id) != sample for stored in (first, second)):
            raise CipherIsBroken("The self-test of the encryption failed: the value does not come back.")


def configured_cipher() -> Cipher:
    """Return the cipher with the keys of the settings; it is checked the first time they are used."""
    from django.conf import settings  # everything else here works without Django

    return _checked_cipher(settings.ENCRYPTION_KEY, tuple(settings.ENCRYPTION_PREVIOUS_KEYS))


@lru_cache(maxsize=1)
def _checked_cipher(key: str, previous_keys: tuple[str, ...]) -> Cipher:
    cipher = Cipher(key, previous_keys)
    cipher.check()
    return cipher
