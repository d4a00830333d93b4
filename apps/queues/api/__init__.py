"""Work queues and their items over HTTP (api.md section 18)."""
