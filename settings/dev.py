"""One machine, one person: the settings of ``manage.py`` and ``make up``."""

from settings.base import *  # noqa: F403  # a settings module is its base with changes
