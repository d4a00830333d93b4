"""Keys made at first boot and kept in the state directory, readable by the owner only."""

import os
import secrets
from pathlib import Path

from settings.env import BadSetting

# Published in documentation and examples, or what people type first: never a key.
PLACEHOLDERS = frozenset({"changeme", "change-me", "secret", "insecure", "your-secret-here", "attune", "password"})
MINIMUM_CHARACTERS = 32


def kept_secret(file: Path, configured: str | None, *, variable: str) -> str:
    """
    Return the configured secret, else the one kept in ``file``, which is made when it is missing.

    Raises BadSetting when the configured one is empty or a placeholder, or the file cannot be made.
    """
    if configured is not None:
        _refuse_known(configured, variable)
        return configured
    try:
        return file.read_text().strip() or _refuse_empty(file, variable)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BadSetting(f"Cannot read {file} ({error.strerror}). Check who owns it, or set {variable}.") from None
    return _make(file, variable)


def check_strength(secret: str, *, variable: str) -> None:
    """Raise BadSetting when a secret that encrypts is empty, a placeholder or short. It is never in the message."""
    _refuse_known(secret, variable)
    if len(secret) < MINIMUM_CHARACTERS:
        raise BadSetting(f"{variable} has fewer than 32 characters. Set a random text of 32 or more.")


def _refuse_known(secret: str, variable: str) -> None:
    if not secret.strip() or secret.strip().lower() in PLACEHOLDERS:
        raise BadSetting(f"{variable} is empty or a placeholder. Set a random text of 32 characters or more.")


def _refuse_empty(file: Path, variable: str) -> str:
    raise BadSetting(f"{file} is empty. Restore it from a backup, or set {variable}.")


def _make(file: Path, variable: str) -> str:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Written whole under another name first: two first boots at once must agree on one key.
        draft = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_urlsafe(64))
        try:
            os.link(draft, file)
        except FileExistsError:
            pass  # another process was faster; its key counts
        finally:
            draft.unlink()
        return file.read_text().strip()
    except OSError as error:
        raise BadSetting(
            f"Cannot write {file} ({error.strerror}). Make the directory writable, name another one in "
            f"ATTUNE_STATE_DIR, or set {variable}."
        ) from None
