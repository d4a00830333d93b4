"""What an environment is made of: pure values, read from a runtime's configuration and a pack's folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.workers.environment import render_template

BUILDS = ".builds"
# Beside the manifest; they decide what is installed just as it does.
LOCK_FILES = {"package.json": ("package-lock.json", "npm-shrinkwrap.json")}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One environment: of which pack, for which runtime and version, made of what."""

    pack_ref: str
    pack_dir: Path
    runtime_name: str
    version: str  # empty: the runtime's base configuration
    env_type: str
    root: Path  # the folder of all environments
    manifest: Path
    create_command: tuple[str, ...]
    install_command: tuple[str, ...]
    binary: str
    interpreter_path: str  # a template, empty: the environment has no interpreter of its own

    @property
    def label(self) -> str:
        """The name of the environment's folder: the runtime's, with the version if one was selected."""
        name = self.runtime_name.lower()
        return f"{name}-{self.version}" if self.version else name

    @property
    def link(self) -> Path:
        """``env_dir`` of packs.md section 7: always the newest build that succeeded."""
        return self.root / self.pack_ref / self.label

    @property
    def builds(self) -> Path:
        return self.root / self.pack_ref / BUILDS

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files the content of the environment depends on, whether they exist or not."""
        return (self.manifest, *(self.manifest.with_name(name) for name in LOCK_FILES.get(self.manifest.name, ())))

    @property
    def owns_manifest(self) -> bool:
        """Whether the manifest is copied into the environment (its tool installs beside it)."""
        return self.env_type == "node_modules"

    def checksum(self) -> str:
        """Return the SHA-256 of all the environment is made of. Raises OSError when the manifest cannot be read."""
        digest = hashlib.sha256()
        recipe = [self.label, self.env_type, self.create_command, self.install_command, self.interpreter_path]
        digest.update(json.dumps(recipe).encode())
        for file in self.inputs:
            if file == self.manifest or file.is_file():
                content = file.read_bytes()
                digest.update(f"\0{file.name}\0{len(content)}\0".encode())
                digest.update(content)
        return digest.hexdigest()

    def build_dir(self, checksum: str) -> Path:
        return self.builds / f"{self.label}-{checksum[:16]}"

    def interpreter_in(self, directory: Path) -> Path | None:
        """Return the environment's own interpreter, None when it brings none."""
        path = self._filled(self.interpreter_path, directory) if self.interpreter_path else None
        return Path(path) if path else None

    def commands(self, directory: Path) -> list[tuple[str, ...]]:
        """Return what to run, in order, to make the environment in ``directory``."""
        steps = (self.create_command, self.install_command)
        return [tuple(self._filled(word, directory) for word in step) for step in steps if step]

    def _filled(self, template: str, directory: Path) -> str:
        own = self.interpreter_path.replace("{env_dir}", str(directory)).replace("{pack_dir}", str(self.pack_dir))
        manifest = directory / self.manifest.name if self.owns_manifest else self.manifest
        values = {
            "pack_dir": str(self.pack_dir),
            "env_dir": str(directory),
            "interpreter": own or self.binary,
            "manifest_path": str(manifest),
        }
        return render_template(template, values) or ""


def plan_of(
    *,
    pack_ref: str,
    pack_dir: Path | None,
    runtime_name: str,
    version: str | None,
    config: Mapping[str, Any],
    root: Path,
) -> Plan | None:
    """Return the plan of a pack's environment, or None when the pack needs none for this runtime."""
    environment = _mapping(config.get("environment"))
    dependencies = _mapping(config.get("dependencies"))
    env_type = str(environment.get("env_type") or "none")
    manifest_file = dependencies.get("manifest_file")
    if pack_dir is None or env_type == "none" or not isinstance(manifest_file, str) or not manifest_file:
        return None
    manifest = pack_dir / manifest_file
    if not manifest.is_file():
        return None
    return Plan(
        pack_ref=pack_ref,
        pack_dir=pack_dir,
        runtime_name=runtime_name,
        version=version or "",
        env_type=env_type,
        root=root,
        manifest=manifest,
        create_command=_words(environment.get("create_command")),
        install_command=_words(dependencies.get("install_command")),
        binary=str(_mapping(config.get("interpreter")).get("binary") or ""),
        interpreter_path=str(environment.get("interpreter_path") or ""),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _words(value: Any) -> tuple[str, ...]:
    return tuple(str(word) for word in value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
