"""What callers may ask of this app; each is described where it is written."""

from apps.inquiries.changes import NewInquiry, cancel_inquiry, create_inquiry, delete_inquiry, update_inquiry
from apps.inquiries.responding import respond

__all__ = ["NewInquiry", "cancel_inquiry", "create_inquiry", "delete_inquiry", "respond", "update_inquiry"]
