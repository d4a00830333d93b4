"""The Django project: wiring. It knows every app; no app knows it."""

from attune.celery import app as celery_app

__all__ = ["celery_app"]
