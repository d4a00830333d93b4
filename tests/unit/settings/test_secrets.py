"""Keys made at first boot: kept, private, and never a known word."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from settings.env import BadSetting
from settings.secrets import PLACEHOLDERS, check_strength, kept_secret


def test_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    file = tmp_path / "state" / "jwt_secret"

    first = kept_secret(file, None, variable="ATTUNE_JWT_SECRET")

    assert kept_secret(file, None, variable="ATTUNE_JWT_SECRET") == first
    assert len(first) >= 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["jwt_secret"]


def test_first_boots_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: kept_secret(tmp_path / "key", None, variable="X"), range(8)))

    assert len(made) == 1


@pytest.mark.parametrize("value", ["", "   ", *sorted(PLACEHOLDERS), "ChangeMe"])
def test_empty_or_published_secret_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(BadSetting) as refusal:
        kept_secret(tmp_path / "key", value, variable="ATTUNE_JWT_SECRET")

    assert str(refusal.value).startswith("ATTUNE_JWT_SECRET is empty or a placeholder")


def test_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").touch()

    with pytest.raises(BadSetting) as refusal:
        kept_secret(tmp_path / "key", None, variable="ATTUNE_JWT_SECRET")

    assert "is empty" in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "is empty or a placeholder"),
        (" " * 40, "is empty or a placeholder"),
        ("ChangeMe", "is empty or a placeholder"),
        ("k" * 31, "has fewer than 32 characters"),
    ],
)
def test_weak_key_is_refused_without_showing_it(value: str, words: str) -> None:
    with pytest.raises(BadSetting) as refusal:
        check_strength(value, variable="ATTUNE_ENCRYPTION_KEY")

    assert str(refusal.value).startswith(f"ATTUNE_ENCRYPTION_KEY {words}")
    assert "k" * 31 not in str(refusal.value)


def test_key_of_32_characters_is_taken() -> None:
    check_strength("0123456789abcdef0123456789abcdef", variable="ATTUNE_ENCRYPTION_KEY")
