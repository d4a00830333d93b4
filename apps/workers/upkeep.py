"""What a worker does besides running: keep what it offers in step with the packs, and build their environments."""

import logging
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error, close_old_connections, transaction
from django.db.models import Count, Max

from apps.packs.models import Pack
from apps.workers import environments, history
from apps.workers.capabilities import detect
from apps.workers.environments.plan import BUILDS
from apps.workers.models import Runtime, Worker
from apps.workers.runner_services import RunnerServices

logger = logging.getLogger(__name__)


class Upkeep:
    """The capabilities of this process's worker, looked at again when packs or environments have changed."""

    def __init__(self, *, services: RunnerServices, slots: int) -> None:
        self.capabilities: dict[str, Any] = {}
        self._more: dict[str, Any] = {}
        self._telling = threading.Lock()
        self._services = services
        self._slots = slots
        self._catalogue: Any = None
        self._look = threading.Event()
        self._build = threading.Event()
        self._ended = threading.Event()

    def first_look(self) -> None:
        """Find out what this worker can offer; once, however often the start has to be tried again."""
        if self._catalogue is None:
            catalogue = _catalogue()
            self.capabilities = self._detect()
            self._catalogue = catalogue

    def tell(self, worker_id: int | None, **more: Any) -> None:
        """Offer this besides what is found; before the start (no ``worker_id``) it only is remembered."""
        with self._telling:
            self._more.update(more)
            found = {**self.capabilities, **more}
            if worker_id is not None and found != self.capabilities:
                _write(worker_id, found)
            self.capabilities = found

    def _detect(self) -> dict[str, Any]:
        found = detect(slots=self._slots, services=self._services)
        if not self._slots:
            del found["max_concurrent_executions"]  # a worker for sensors alone
        return {**found, **self._more}

    def start(self) -> None:
        """From now on build what packs need, in the background."""
        threading.Thread(target=self._keep_building, name="agent_builds", daemon=True).start()
        self._build.set()

    def stop(self) -> None:
        """Build no more, and end what is being built."""
        self._ended.set()
        self._build.set()
        environments.stop_builds()

    def look_again(self) -> None:
        """Something has changed: look at it with the next renewal, or before."""
        self._look.set()

    def keep(self, worker_id: int) -> bool:
        """Look at what has changed since the last time; return True when the worker offers something else now."""
        catalogue = _catalogue()
        if catalogue == self._catalogue and not self._look.is_set():
            return False
        self._look.clear()
        packs_changed = catalogue != self._catalogue
        found = self._detect()
        self._catalogue = catalogue
        if packs_changed:
            self._build.set()
        with self._telling:
            found.update(self._more)
            if found == self.capabilities:
                return False
            _write(worker_id, found)
            self.capabilities = found
        return True

    def _keep_building(self) -> None:
        while True:
            self._build.wait()
            self._build.clear()
            if self._ended.is_set():
                return
            try:
                self._build_all()
            except Error as error:
                logger.warning("Environments could not be looked after: %s", error)
            except Exception:
                logger.exception("Environments could not be looked after")
            finally:
                close_old_connections()

    def _build_all(self) -> None:
        packs = list(Pack.objects.all())
        for pack in packs:
            if self._ended.is_set():
                return
            environments.build_environments(pack, self.capabilities)
        known = {pack.ref for pack in packs}
        for folder in Path(settings.RUNTIME_ENVS_DIR).glob(f"*/{BUILDS}"):
            if folder.parent.name not in known:
                environments.remove_environments(folder.parent.name)


def _write(worker_id: int, capabilities: dict[str, Any]) -> None:
    worker = Worker.objects.get(pk=worker_id)
    with transaction.atomic():
        history.change(worker, actor=history.actor_of(worker), reason="capabilities", capabilities=capabilities)


def _catalogue() -> Any:
    """Return what moves whenever a pack or a runtime changes."""
    return [
        rows.aggregate(last=Max("updated"), count=Count("pk")) for rows in (Pack.objects.all(), Runtime.objects.all())
    ]
