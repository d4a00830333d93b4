"""Read a pack's folder: pack.yaml and the files of the component folders. No database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from apps.core.yaml_files import Document, YamlError, read_yaml
from apps.packs.components import ComponentFile
from apps.packs.manifest import FILE, InvalidManifest, Manifest, read_manifest

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class PackFolder:
    """A pack as it lies on disk; ``components`` by the name of their folder, each sorted by file name."""

    path: Path
    manifest: Manifest
    components: Mapping[str, list[ComponentFile]]


def read_pack(path: Path, folders: Iterable[str]) -> PackFolder:
    """
    Read the pack in a folder, components of the given folders only.

    Raises InvalidManifest when there is no usable pack.yaml. A component file that cannot be read says so itself.
    """
    manifest = read_manifest(_manifest_document(path))
    return PackFolder(path=path, manifest=manifest, components={name: component_files(path, name) for name in folders})


def _manifest_document(path: Path) -> Document:
    file = path / FILE
    if not is_inside(file, path) or not file.is_file():
        raise InvalidManifest("There is no pack.yaml in the pack")
    try:
        return read_yaml(file)
    except YamlError as error:
        place = f" line {error.line}" if error.line else ""
        raise InvalidManifest(f"pack.yaml{place}: {error.message}") from error
    except OSError as error:
        raise InvalidManifest(f"pack.yaml cannot be read: {error.strerror}") from error


def component_files(pack: Path, folder: str) -> list[ComponentFile]:
    """Return the files of one component folder, sorted by name. One that cannot be read says so itself."""
    directory = pack / folder
    if not directory.is_dir() or not is_inside(directory, pack):
        return []
    # Hidden files are editors' and file systems' own (._name.yaml of macOS archives), never components.
    names = sorted(
        entry.name for entry in directory.iterdir() if entry.suffix in SUFFIXES and not entry.name.startswith(".")
    )
    return [_component_file(pack, f"{folder}/{name}") for name in names if not (directory / name).is_dir()]


def _component_file(pack: Path, path: str) -> ComponentFile:
    file = pack / path
    if not is_inside(file, pack):
        return ComponentFile(path=path, problem="the file leads out of the pack")
    try:
        document = read_yaml(file)
    except YamlError as error:
        return ComponentFile(path=path, problem=error.message, problem_line=error.line)
    except OSError as error:
        return ComponentFile(path=path, problem=f"it cannot be read: {error.strerror}")
    return ComponentFile(path=path, data=document.value, key_lines=document.key_lines, root=pack)


def is_inside(file: Path, pack: Path) -> bool:
    """Whether a path, links followed, leads to something in the pack."""
    return file.resolve().is_relative_to(pack.resolve())
