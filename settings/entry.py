"""How a process that is not ``manage.py`` (celery, an ASGI or WSGI server) takes up the settings."""

import os
import sys
from importlib import import_module

from settings.env import BadSetting


def load_or_exit() -> None:
    """Load the settings named by DJANGO_SETTINGS_MODULE; end with one sentence and code 2 when they are unusable."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.dev")
    try:
        import_module(os.environ["DJANGO_SETTINGS_MODULE"])
    except BadSetting as error:
        sys.stderr.write(f"attune: {error}\n")
        raise SystemExit(2) from None
