"""Inquiries over HTTP (api.md section 15)."""
