"""The Celery app; its settings are the CELERY_ names of the Django settings."""

import sys
from functools import cached_property
from typing import Any

import click
from celery import Celery, signals

from attune import broker
from settings.entry import load_or_exit
from settings.env import CannotStart

load_or_exit()
broker.install()


class Attune(Celery):
    @cached_property
    def Worker(self) -> type:
        """What ``celery -A attune worker`` starts."""
        # The stubs do not know that a name will do; the class itself cannot be imported yet.
        return self.subclass_with_self("attune.worker:Worker")  # type: ignore[arg-type]


app = Attune("attune")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# By name: models cannot be imported yet.
app.steps["worker"].add("apps.workers.bootstep:AgentStep")
app.user_options["worker"].add(
    click.Option(["--name"], help="Unique name of this worker, ahead of ATTUNE_WORKER_NAME (default: the host's).")
)


@signals.setup_logging.connect
def keep_our_logging(**_signal: Any) -> None:
    """Celery configures no logging as soon as somebody listens here: Django's LOGGING holds for workers too."""


@signals.celeryd_init.connect
def refuse_what_cannot_work(**_signal: Any) -> None:
    """End ``celery worker`` with one sentence where it could never receive anything, or has no database."""
    from django.db import connections  # all of this needs Django's settings in place

    from attune.preflight import check_database, check_encryption

    try:
        if app.connection_for_read().transport_cls == "memory":
            raise CannotStart(
                "CELERY_BROKER_URL is memory://, which reaches nobody outside one process. Start everything in one "
                "process with `manage.py up`, or set CELERY_BROKER_URL=redis://... for every process."
            )
        check_database()
        check_encryption()
        connections.close_all()
    except CannotStart as refusal:
        sys.stderr.write(f"attune: {refusal}\n")
        raise SystemExit(2) from None
