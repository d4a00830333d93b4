"""The console's pages of inquiries: what waits for an answer, and the form that gives it."""

from apps.inquiries.admin import inquiries

__all__ = ["inquiries"]
