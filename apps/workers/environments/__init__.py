"""Environments of packs: ``plan.py`` says what one is made of, ``build.py`` makes it, ``service.py`` is what to call."""

from apps.workers.environments.service import (
    build_environments,
    built_here,
    ready_environment,
    rebuild,
    remove_environments,
    stop_builds,
    use_services,
)

__all__ = [
    "build_environments",
    "built_here",
    "ready_environment",
    "rebuild",
    "remove_environments",
    "stop_builds",
    "use_services",
]
