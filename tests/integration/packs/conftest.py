"""Packs as folders and archives."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Files = dict[str, str]


@pytest.fixture
def packs_dir(tmp_path: Path, settings: Any) -> Path:
    """The packs directory of this test alone."""
    settings.PACKS_DIR = tmp_path / "packs"
    return tmp_path / "packs"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a pack's folder: ``write("lab", {"actions/a.yaml": "..."})``; what is not named is removed."""

    def write(ref: str, files: Files | None = None, **manifest: Any) -> Path:
        folder = tmp_path / "sources" / ref
        for old in sorted(folder.rglob("*"), reverse=True) if folder.exists() else ():
            old.rmdir() if old.is_dir() else old.unlink()
        lines = {"ref": ref, "version": "1.0.0", **manifest}
        for name, text in {"pack.yaml": "\n".join(f"{k}: {v}" for k, v in lines.items()), **(files or {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    return write


def packed(files: Files) -> io.BytesIO:
    """A .tar.gz of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    buffer.seek(0)
    buffer.name = "pack.tar.gz"
    return buffer


def lab(version: str = "1.0.0", **files: str) -> Files:
    """The files of a small pack; ``a__yaml`` style names are not needed: pass more files as a dict to ``packed``."""
    return {"pack.yaml": f"ref: lab\nversion: {version}\n", **files}
