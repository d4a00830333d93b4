"""The console's pages of workflows."""

from apps.workflows.admin import definitions, runs

__all__ = ["definitions", "runs"]
