"""Actions over HTTP (api.md section 5)."""
