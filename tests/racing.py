"""Work that is done at the same moment, again and again: what a race gets wrong it gets wrong in some of many rounds."""

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from django.db import connection

_PATIENCE_SECONDS = 60


def together(*works: Callable[[], Any], spread_seconds: float = 0.0) -> list[Any]:
    """
    Run each in a thread of its own, all at once; return what each returned, or raised.

    ``spread_seconds``: each begins by chance up to this much later, so that rounds meet in different places.
    """
    start = threading.Barrier(len(works))
    answers: list[Any] = [None] * len(works)

    def run(place: int) -> None:
        try:
            start.wait(_PATIENCE_SECONDS)
            time.sleep(random.uniform(0, spread_seconds))
            answers[place] = works[place]()
        except Exception as error:  # the test looks at it
            answers[place] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE_SECONDS)
    return answers
