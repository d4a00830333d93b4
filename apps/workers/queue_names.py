"""What the queues of workers are called, for those who publish and those who consume."""


def queue_of(worker_id: int) -> str:
    """Return the name of a worker's own queue."""
    return f"worker.{worker_id}.executions"
