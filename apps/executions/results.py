"""Store the result of a run: short ones in the row, long values as an artifact (execution.md section 11)."""

import json
from typing import Any

from apps.executions.artifacts import store_large_result
from apps.executions.models import Execution

LARGEST_IN_ROW_BYTES = 64 * 1024


def store_result(execution: Execution, result: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that hold the result: ``result`` and, when a value of it became an artifact, which."""
    if "data" not in result:
        return {"result": result}
    size = len(json.dumps(result, separators=(",", ":"), ensure_ascii=False).encode())
    if size <= LARGEST_IN_ROW_BYTES:
        return {"result": result, "result_size_bytes": size}
    short = store_large_result(execution, result)
    return {"result": short, "result_size_bytes": size, "result_artifact": execution.result_artifact_id}
