"""Make the job of a claimed execution: everything its run needs, as plain values."""

from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from apps.actions.cached import current_action
from apps.actions.models import Action
from apps.core.redaction import Redactor
from apps.core.schemas import fill_defaults, holds_secret, secret_names
from apps.executions.log_versions import log_directory
from apps.executions.models import Execution
from apps.executions.parameters import own_variables, parameters_of, special_of
from apps.executions.secrets import real_config, secrets_of_run
from apps.identity.tokens import mint_execution_token
from apps.keys.ambient import ambient_keys
from apps.packs.services import pack_directory
from apps.workers.agent import WorkerAgent
from apps.workers.environments import ready_environment
from apps.workers.fitness import read_capabilities
from apps.workers.job_spec import Job, RuntimeSpec
from apps.workers.specs import runtime_spec

TOKEN_MARGIN_SECONDS = 60  # beyond the time limit of the process (auth.md 2.1)


class ActionMissing(Exception):
    """The action of the execution no longer exists."""


def job_of(execution: Execution, agent: WorkerAgent, *, called_off: Callable[[], bool]) -> Job:
    """
    Return the job of an execution; builds the pack's environment first when it is missing.

    Raises ActionMissing, KeyNotReadable, CannotDecrypt. May take as long as an environment build; that time does not
    count against the time limit. ``called_off`` ends the wait for a build that another run makes.
    """
    action = current_action(execution.action_id) if execution.action_id is not None else None
    if action is None:
        raise ActionMissing(f"The action '{execution.action_ref}' no longer exists")
    pack = action.pack
    spec = runtime_spec(action.runtime, action.runtime_version_constraint, agent.offers()) if action.runtime else None
    timeout_seconds = execution.timeout_seconds or settings.TASK_TIMEOUT_SECONDS
    config = real_config(execution)
    variables = _product_variables(execution, action, timeout_seconds)
    ambient = ambient_keys(pack_id=action.pack_id, action_id=action.pk, wanted=action.ambient_keys)
    redactor = Redactor(
        [*secrets_of_run(config, action.param_schema), *ambient.secrets, variables.get("ATTUNE_API_TOKEN", "")]
    )
    pack_dir = pack_directory(pack)
    return Job(
        execution_id=execution.pk,
        epoch=execution.epoch,
        attempt=execution.attempt,
        action_ref=execution.action_ref,
        pack_ref=action.pack_ref,
        is_adhoc=action.is_adhoc,
        entrypoint=action.entrypoint,
        runtime=spec,
        available_runtimes=tuple(read_capabilities(agent.offers())[0]),
        pack_dir=pack_dir,
        env_dir=_environment(action, spec, pack_dir, called_off),
        parameters=fill_defaults(action.param_schema, parameters_of(config, action.param_schema)),
        ambient=ambient.values,
        secret_names=secret_names(action.param_schema),
        parameter_delivery=action.parameter_delivery,
        parameter_format=action.parameter_format,
        output_format=action.output_format,
        timeout_seconds=timeout_seconds,
        limits=execution.limits or {},
        kill_grace_seconds=settings.KILL_GRACE_SECONDS,
        env=own_variables(config, execution.env_vars, action.param_schema)[0],
        context=special_of(config, action.param_schema, "context"),
        attune_env=variables,
        preload=tuple(pack.preload or ()),
        log_dir=log_directory(execution.pk),
        stdout_limit=settings.MAX_STDOUT_BYTES,
        stderr_limit=settings.MAX_STDERR_BYTES,
        redactor=redactor if redactor else None,
        out_schema=action.out_schema if holds_secret(action.out_schema) else None,
    )


def _environment(
    action: Action, spec: RuntimeSpec | None, pack_dir: Path | None, called_off: Callable[[], bool]
) -> Path | None:
    if spec is None or action.runtime is None or pack_dir is None:
        return None
    return ready_environment(action.pack, action.runtime, spec.version, called_off=called_off)


def _product_variables(execution: Execution, action: Action, timeout_seconds: int) -> dict[str, str]:
    variables = {
        "ATTUNE_API_URL": settings.PUBLIC_API_URL,
        "ATTUNE_ARTIFACTS_DIR": str(settings.ARTIFACTS_DIR),
        "ATTUNE_RUNTIME_ENVS_DIR": str(settings.RUNTIME_ENVS_DIR),
    }
    if action.ref == "core.http_request" and settings.HTTP_BLOCKED_NETWORKS is not None:
        variables["ATTUNE_HTTP_BLOCKED_NETWORKS"] = ",".join(settings.HTTP_BLOCKED_NETWORKS)  # packs.md section 11
    if execution.rule_ref:
        variables["ATTUNE_RULE"] = execution.rule_ref
    if execution.trigger_ref:
        variables["ATTUNE_TRIGGER"] = execution.trigger_ref
    if execution.permission_set_refs and execution.executor_id is not None:
        variables["ATTUNE_API_TOKEN"] = mint_execution_token(
            execution_id=execution.pk,
            action_ref=execution.action_ref,
            executor=execution.executor_id,
            permission_set_refs=execution.permission_set_refs,
            # What the set "standard" reaches (auth.md 6.3).
            standard_access_action_refs=[execution.action_ref],
            standard_access_pack_refs=[action.pack_ref],
            epoch=execution.epoch,
            lifetime_seconds=timeout_seconds + TOKEN_MARGIN_SECONDS,
        )
    return variables
