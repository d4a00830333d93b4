"""Packs over HTTP (api.md section 4)."""
