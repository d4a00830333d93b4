"""
Tests: a state directory of their own, fast passwords, nothing from the developer's environment.

``DATABASE_URL`` and ``CELERY_BROKER_URL`` choose the stack (SQLite and the in-memory broker without them). The test
database on SQLite is a file, because real threads and processes use it too.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

for _name in [name for name in os.environ if name.startswith("ATTUNE_")]:
    del os.environ[_name]


def _own_state_dir() -> str:
    """Return a new directory that goes away with this process (and not with its forks)."""
    directory = tempfile.mkdtemp(prefix="attune-test-")
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(directory, ignore_errors=True) if os.getpid() == owner else None)
    return directory


def _own_redis_database() -> None:
    """Tests run side by side must not take each other's messages: each process of pytest-xdist has its own number."""
    url, number = os.environ.get("CELERY_BROKER_URL", ""), os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if url.startswith("redis") and number:
        server, _, database = url.rpartition("/")
        os.environ["CELERY_BROKER_URL"] = f"{server}/{(int(database or 0) + int(number)) % 16}"


os.environ["ATTUNE_STATE_DIR"] = _own_state_dir()
_own_redis_database()

from settings.base import *  # noqa: E402, F403  # after the environment is the tests' own
from settings.base import DATABASES, SQLITE, STATE_DIR  # noqa: E402  # named, so that the checker sees them
from settings.logs import logging_config  # noqa: E402  # the same

# A thread that writes beside a test meets its transaction; tests of the trail flush it, or have one of their own.
AUDIT_IN_BACKGROUND = False
# Each client of a test makes the middleware anew: it looks for a static file when asked, not for all of them then.
WHITENOISE_AUTOREFRESH = True
ARGON2_PARAMETERS = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
if DATABASES["default"]["ENGINE"] == SQLITE:
    DATABASES["default"]["TEST"] = {"NAME": str(Path(STATE_DIR) / "test.sqlite3")}
LOGGING = logging_config("info", terminal=True)
LOGGING["loggers"].update({name: {"level": "WARNING"} for name in ("httpx", "httpcore")})
