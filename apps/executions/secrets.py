"""
Secret parameters and results of executions (auth.md section 10): rows hold markers, the values are kept encrypted apart.

A run gets the real values at its start. A retry takes them over from the attempt it repeats.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.actions.cached import current_action
from apps.actions.models import Action
from apps.core.markers import holds_marker, marked, restored
from apps.core.redaction import Redactor
from apps.core.schemas import secret_paths
from apps.executions.models import Execution
from apps.executions.parameters import declared_names, parameters_of
from apps.keys import secret_store
from apps.keys.models import SecretSource
from apps.workers.jobs import JobReport
from apps.workers.results import write_result_file

Values = Mapping[str, Any]  # by JSON pointer into the document

_CHUNK_BYTES = 1024 * 1024


def without_secrets(config: Any, param_schema: Any) -> tuple[Any, Values]:
    """Return a request's config with markers for its secret parameters, and what stood there."""
    if not param_schema or not isinstance(config, Mapping):
        return config, {}
    nested = "parameters" not in declared_names(param_schema) and isinstance(config.get("parameters"), Mapping)
    prefix: tuple[str, ...] = ("parameters",) if nested else ()
    paths = secret_paths(param_schema, parameters_of(config, param_schema))
    return marked(config, [(*prefix, *path) for path in paths])


def keep_parameters(execution: Execution, values: Values) -> None:
    """Keep the values that stand behind the markers in the config of a new execution."""
    secret_store.put(
        secret_store.EXECUTION_CONFIG,
        execution.pk,
        values,
        source_kind=SecretSource.PARAMETER,
        source_ref=execution.action_ref,
    )


def real_config(execution: Execution) -> Any:
    """Return the config with its secret values. Raises CannotDecrypt, UnknownKey."""
    if not holds_marker(execution.config):
        return execution.config
    return restored(execution.config, secret_store.get(secret_store.EXECUTION_CONFIG, execution.pk))


def real_result(execution: Execution) -> Any:
    """Return the result with its secret values. Raises CannotDecrypt, UnknownKey."""
    if not holds_marker(execution.result):
        return execution.result
    return restored(execution.result, secret_store.get(secret_store.EXECUTION_RESULT, execution.pk))


def with_secret_values(execution: Execution) -> Execution:
    """Return the execution, read for showing only, with the values behind its markers."""
    execution.config, execution.result = real_config(execution), real_result(execution)
    return execution


def edited_config(execution: Execution, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return edited parameters of a retry: a marker that came back stands for the stored value at its place."""
    if not holds_marker(parameters):
        return parameters
    kept: Mapping[str, Any] = restored(parameters, secret_store.get(secret_store.EXECUTION_CONFIG, execution.pk))
    return kept


def take_out_of_result(execution: Execution, action: Action | None, result: dict[str, Any]) -> dict[str, Any]:
    """
    Return a result with markers for what the action's output schema calls secret, and keep the values.

    The previews show neither: they are what the program printed.
    """
    shown, values = _without_secrets_of_output(action, result)
    if values:
        secret_store.replace(
            secret_store.EXECUTION_RESULT,
            execution.pk,
            values,
            source_kind=SecretSource.RESULT,
            source_ref=execution.action_ref,
        )
    return shown


def clean_files(execution: Execution, report: JobReport, log_dir: Path) -> JobReport:
    """
    Take the values of secret outputs out of the files of a run that has just ended; return the report with their sizes.

    Stdout was held back from where data may begin (``apps.workers.secret_output``). What a program says elsewhere, before
    that or on stderr, is known to be secret only now: somebody who followed the log has seen it.
    """
    action = current_action(execution.action_id) if "data" in report.result and execution.action_id else None
    shown, values = _without_secrets_of_output(action, report.result)
    if not values:
        return report
    write_result_file(log_dir, shown)
    redactor = Redactor(list(values.values()))
    sizes = {
        f"{name}_bytes": _rewritten(Path(shown[f"{name}_log"]), redactor)
        for name in ("stdout", "stderr")
        if f"{name}_log" in shown
    }
    return replace(report, **sizes)  # type: ignore[arg-type]  # the names are those of two of its fields


def _without_secrets_of_output(action: Action | None, result: dict[str, Any]) -> tuple[dict[str, Any], Values]:
    if action is None or not action.out_schema or "data" not in result:
        return result, {}
    shown, values = marked(result["data"], secret_paths(action.out_schema, result["data"]))
    if not values:
        return result, {}
    redactor = Redactor(list(values.values()))
    said = [name for name in ("stdout", "stderr", "error") if name in result]
    previews: dict[str, Any] = {name: redactor.redact_text(result[name]) for name in said}
    return {**result, **previews, "data": shown}, {f"/data{place}": value for place, value in values.items()}


def _rewritten(log: Path, redactor: Redactor) -> int:
    """Put the log through the redactor and return its new size; readers see the old file or the new one."""
    clean = log.with_name(f"{log.name}.clean")
    stream = redactor.stream()
    with log.open("rb") as source, clean.open("wb") as target:
        while chunk := source.read(_CHUNK_BYTES):
            target.write(stream.feed(chunk))
        target.write(stream.flush())
    clean.chmod(log.stat().st_mode & 0o777)
    clean.replace(log)
    return log.stat().st_size


def secrets_of_run(real: Any, param_schema: Any) -> list[Any]:
    """Return the values of the secret parameters of a config with its real values."""
    _shown, values = without_secrets(real, param_schema)
    return list(values.values())
