"""Workers and runtimes over HTTP (api.md 19, 21)."""
