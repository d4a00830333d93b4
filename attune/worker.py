"""The worker of ``celery -A attune worker``, and the consumer of every worker."""

import logging
from typing import Any

from celery.apps.worker import Worker as CeleryWorker
from celery.worker.consumer import Consumer as CeleryConsumer

logger = logging.getLogger(__name__)

# Workers know of each other through their leases. Gossip and mingle would only cost a queue and a message of every
# worker to every other one; Celery's own heartbeats go to monitors nobody runs.
QUIET = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


class Worker(CeleryWorker):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, **QUIET})


class Consumer(CeleryConsumer):
    """Celery's consumer, which no broken connection ends."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """
        Tidy up after a connection, as far as that is possible, and let it be made anew.

        Closing a connection, kombu gives unacknowledged messages back to Redis. Without Redis that ends in errors
        which Celery does not expect here (an AttributeError), and which would end the whole worker. Nobody needs the
        messages: the rows are the queue.
        """
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:  # whatever the broker's client comes to
            logger.warning("The broken connection to the broker could not be closed properly: %r", error)
        finally:
            self.connection = None
