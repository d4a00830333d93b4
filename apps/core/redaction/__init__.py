"""Secrets taken out of what programs print and return, before anything is stored or shown (auth.md section 11)."""

from apps.core.redaction.redactor import Redactor
from apps.core.redaction.stream import MASK, RedactedStream

__all__ = ["MASK", "RedactedStream", "Redactor"]
