"""
Read the environment: every variable the product knows, its type, default and meaning.

This table is the one place. A value that cannot be used, and an ``ATTUNE_*`` name nobody knows, stop the start
with a sentence that names the variable (``BadSetting``).
"""

import difflib
import json
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BASE_DIR = Path(__file__).resolve().parent.parent


class CannotStart(Exception):
    """The product cannot start as things are; the message names what to change."""


class BadSetting(CannotStart):
    """An environment variable holds something the product cannot use."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One environment variable; ``parse`` raises ValueError with the end of the sentence "NAME ..."."""

    name: str
    parse: Callable[[str], Any]
    default: Any
    meaning: str
    default_text: str = ""


def text(value: str) -> str:
    return value


def secret(value: str) -> str:
    """Unlike everywhere else an empty text is not "no value" here: whoever set it meant to set a secret."""
    return value


def sized_text(minimum: int, maximum: int) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not minimum <= len(value) <= maximum:
            raise ValueError(f"must have {minimum} to {maximum} characters, it has {len(value)}")
        return value

    return parse


def sql_name(value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value):
        raise ValueError("must be a plain name: small letters, digits and _, at most 63")
    return value


def integer(minimum: int, maximum: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"must be a whole number from {minimum} to {maximum}, not {value!r}") from None
        if not minimum <= number <= maximum:
            raise ValueError(f"must be from {minimum} to {maximum}, not {number}")
        return number

    return parse


def decimal(minimum: float, maximum: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise ValueError(f"must be a number from {minimum} to {maximum}, not {value!r}") from None
        if not minimum <= number <= maximum:
            raise ValueError(f"must be from {minimum} to {maximum}, not {value}")
        return number

    return parse


def boolean(value: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if value.strip().lower() not in words:
        raise ValueError(f"must be true or false, not {value!r}")
    return words[value.strip().lower()]


def path(value: str) -> Path:
    if not value.strip():
        raise ValueError("must name a directory, it is empty")
    return Path(value).expanduser().absolute()


def choice(*options: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in options:
            raise ValueError(f"must be one of {', '.join(options)}, not {value!r}")
        return value

    return parse


def names(value: str) -> list[str]:
    """A comma list; blanks around the entries are dropped, and so are empty entries."""
    return [entry.strip() for entry in value.split(",") if entry.strip()]


def keys(value: str) -> list[str]:
    """A comma list of secrets, or a JSON list for those that hold a comma; an empty one got lost on the way."""
    try:
        found = json.loads(value) if value.lstrip().startswith("[") else [entry.strip() for entry in value.split(",")]
    except ValueError:
        raise ValueError("must be a comma list or a JSON list of texts") from None
    if not all(isinstance(entry, str) for entry in found):
        raise ValueError("must be a comma list or a JSON list of texts")
    if not all(entry.strip() for entry in found):
        raise ValueError("has an empty entry")
    return found


def labels(value: str) -> dict[str, str]:
    """``zone=eu1,disk=ssd``"""
    found = {}
    for entry in names(value):
        key, separator, word = entry.partition("=")
        if not separator or not key.strip():
            raise ValueError(f"must be a comma list of name=value, {entry!r} is not")
        found[key.strip()] = word.strip()
    return found


def json_list(value: str) -> list[Any]:
    try:
        found = json.loads(value)
    except ValueError:
        raise ValueError("must be a JSON list") from None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError("must be a JSON list of objects")
    return found


def taints(value: str) -> list[dict[str, str]]:
    """``[{"key": "gpu", "value": "a100", "effect": "no_schedule"}]``; one that keeps nothing away would pass unseen."""
    found = json_list(value)
    for taint in found:
        if taint.get("effect") not in ("no_schedule", "prefer_no_schedule"):
            raise ValueError(
                f"must name the effect of each taint, no_schedule or prefer_no_schedule; {taint} does not"
            )
        texts = all(isinstance(word, str) for word in taint.values())
        if not taint.get("key") or not texts or set(taint) - {"key", "value", "effect"}:
            raise ValueError(f"must have key, value? and effect, all texts, in each taint; {taint} has not")
    return found


def networks(value: str) -> list[str]:
    found = names(value)
    for entry in found:
        try:
            ip_network(entry, strict=False)
        except ValueError:
            raise ValueError(f"must be a comma list of networks like 10.0.0.0/8, {entry!r} is none") from None
    return found


def origins(value: str) -> list[str]:
    found = [entry.rstrip("/") for entry in names(value)]
    for entry in found:
        if not re.fullmatch(r"https?://[^/*?#@\s]+", entry):
            raise ValueError(f"must be a comma list of exact origins like https://example.org, {entry!r} is none")
    return found


def seed_identities(value: str) -> list[dict[str, Any]]:
    """``[{"login": "anna", "password": "...", "permission_sets": ["core.admin"]}]``"""
    found = json_list(value)
    for entry in found:
        texts = all(isinstance(entry.get(name), str) for name in ("login", "password"))
        sets = entry.get("permission_sets", [])
        if not texts or not isinstance(sets, list) or not all(isinstance(ref, str) for ref in sets):
            raise ValueError("must be a JSON list of objects with login, password and perhaps permission_sets")
    return found


def url(*schemes: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:  # its text would show a part of the password
            raise ValueError("is not a URL that can be read (escape / : @ in a password as %2F %3A %40)") from None
        if parts.scheme not in schemes or "://" not in value:
            raise ValueError(f"must be a URL that begins with {' or '.join(s + '://' for s in schemes)}")
        if port == 0:
            raise ValueError("names port 0, which nobody listens on")
        return value

    return parse


def database_url(value: str) -> str:
    if ":memory:" in value:
        raise ValueError("cannot be an SQLite database in memory: every thread would see another one")
    url("sqlite", "postgres", "postgresql")(value)
    parts = urlsplit(value)
    if not parts.path.strip("/"):
        raise ValueError("names no database: postgres://user:password@host:5432/name, or sqlite:////path/to/file")
    return value


MIB = 1024 * 1024
_V = Variable
# One variable, one line: a table.
# fmt: off
VARIABLES: tuple[Variable, ...] = (
    # Where it listens, where it writes, what it talks to.
    _V(name="ATTUNE_HOST", parse=text, default="127.0.0.1", meaning="address the server listens on"),
    _V(name="ATTUNE_PORT", parse=integer(1, 65535), default=3000, meaning="port the server listens on"),
    _V(name="ATTUNE_STATE_DIR", parse=path, default=BASE_DIR / "var", default_text="var/", meaning="everything the product writes"),
    _V(name="ATTUNE_PACKS_DIR", parse=path, default=None, default_text="<state>/packs", meaning="folders of uploaded packs"),
    _V(name="ATTUNE_RUNTIME_ENVS_DIR", parse=path, default=None, default_text="<state>/runtime_envs", meaning="environments built for packs"),
    _V(name="ATTUNE_ARTIFACTS_DIR", parse=path, default=None, default_text="<state>/artifacts", meaning="logs and artifacts"),
    _V(name="DATABASE_URL", parse=database_url, default=None, default_text="SQLite in <state>", meaning="the database"),
    _V(name="ATTUNE_DATABASE_SCHEMA", parse=sql_name, default="attune", meaning="schema of the tables on PostgreSQL"),
    _V(name="CELERY_BROKER_URL", parse=url("memory", "redis", "rediss"), default="memory://", meaning="the broker; memory:// only inside one process"),
    _V(name="CHANNEL_LAYER_URL", parse=url("memory", "redis", "rediss"), default="memory://", meaning="where live notifications travel between processes"),
    _V(name="ATTUNE_PUBLIC_API_URL", parse=url("http", "https"), default=None, default_text="the address the server listens on", meaning="base URL that programs get as ATTUNE_API_URL, without /api/v1"),
    _V(name="ATTUNE_LOG_LEVEL", parse=choice("debug", "info", "warning", "error"), default="info", meaning="how much the server's own log tells"),
    _V(name="ATTUNE_CORS_ORIGINS", parse=origins, default=None, default_text="localhost and 127.0.0.1 on 3000, 3001, 5173, 8080", meaning="exact origins whose pages may call the API"),
    _V(name="ATTUNE_ALLOWED_HOSTS", parse=names, default=["*"], default_text="*", meaning="host names the server answers to"),
    _V(name="ATTUNE_TRUSTED_PROXIES", parse=networks, default=["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"], default_text="loopback and private networks", meaning="peers whose forwarding headers count"),
    _V(name="ATTUNE_METRICS_TOKEN", parse=text, default=None, default_text="none", meaning="scrape token of /metrics"),
    _V(name="ATTUNE_IDEMPOTENCY_TTL_HOURS", parse=integer(1, 168), default=24, meaning="how long the answer to a request with an Idempotency-Key is kept"),
    _V(name="ATTUNE_EVENT_MAX_PAYLOAD_KB", parse=integer(1, 102400), default=1024, meaning="largest body of POST /api/v1/events"),
    _V(name="ATTUNE_WEBHOOK_MAX_BODY_KB", parse=integer(1, 102400), default=10240, meaning="largest body of any webhook; a webhook's own limit may be lower"),
    # Who signs in.
    _V(name="ATTUNE_JWT_SECRET", parse=secret, default=None, default_text="made at first boot", meaning="signs tokens; 32 bytes or more, the same on every host"),
    _V(name="ATTUNE_JWT_PREVIOUS_SECRETS", parse=names, default=[], default_text="none", meaning="older secrets that still verify, never sign"),
    _V(name="ATTUNE_JWT_ACCESS_SECONDS", parse=integer(1, 31536000), default=3600, meaning="lifetime of access tokens"),
    _V(name="ATTUNE_JWT_REFRESH_SECONDS", parse=integer(1, 31536000), default=604800, meaning="lifetime of refresh tokens"),
    _V(name="ATTUNE_INTERNAL_TOKEN", parse=text, default=None, default_text="none", meaning="what supervisors of sensors show to get sensor tokens over HTTP"),
    _V(name="ATTUNE_ENCRYPTION_KEY", parse=secret, default=None, default_text="made at first boot", meaning="encrypts secrets; 32 characters or more, the same on every host"),
    _V(name="ATTUNE_ENCRYPTION_PREVIOUS_KEYS", parse=keys, default=[], default_text="none", meaning="older encryption keys, which still decrypt, never encrypt; a comma list, or a JSON list"),
    _V(name="ATTUNE_ADMIN_LOGIN", parse=sized_text(3, 255), default=None, default_text="admin", meaning="administrator made at first start"),
    _V(name="ATTUNE_ADMIN_PASSWORD", parse=sized_text(8, 128), default=None, default_text="random, printed once", meaning="that administrator's password"),
    _V(name="ATTUNE_SEED_IDENTITIES", parse=seed_identities, default=[], default_text="none", meaning="JSON list of {login, password, permission_sets?}, made when absent"),
    _V(name="ATTUNE_ALLOW_SELF_REGISTRATION", parse=boolean, default=False, meaning="anybody may register; new identities hold no rights"),
    _V(name="ATTUNE_INQUIRIES_OPEN_TO_ALL", parse=boolean, default=False, meaning="anybody who is signed in may answer inquiries that are assigned to nobody"),
    # The worker (execution.md section 21).
    _V(name="ATTUNE_WORKER_NAME", parse=text, default=socket.gethostname(), default_text="host name", meaning="unique name of this worker"),
    _V(name="ATTUNE_WORKER_TYPE", parse=choice("local", "remote", "container"), default="local", meaning="kind of worker"),
    _V(name="ATTUNE_WORKER_RUNTIMES", parse=names, default=None, default_text="detected", meaning="runtimes this worker offers"),
    _V(name="ATTUNE_WORKER_LABELS", parse=labels, default={}, default_text="none", meaning="labels for worker selectors, zone=eu1,disk=ssd"),
    _V(name="ATTUNE_WORKER_TAINTS", parse=taints, default=[], default_text="none", meaning="JSON list of {key, value?, effect}"),
    _V(name="ATTUNE_WORKER_SLOTS", parse=integer(1, 1000), default=10, meaning="executions at the same time"),
    _V(name="ATTUNE_HEARTBEAT_SECONDS", parse=decimal(0.1, 3600), default=10.0, default_text="10", meaning="how often a worker renews its lease"),
    _V(name="ATTUNE_LEASE_SECONDS", parse=decimal(0.3, 86400), default=30.0, default_text="30", meaning="how long a lease is valid; at least 3 heartbeats and 2 kill graces"),
    _V(name="ATTUNE_SWEEP_SECONDS", parse=decimal(0.1, 3600), default=5.0, default_text="5", meaning="how often lost messages and lost workers are looked for"),
    _V(name="ATTUNE_TASK_TIMEOUT_SECONDS", parse=integer(1, 604800), default=300, meaning="time limit of an execution that names none"),
    _V(name="ATTUNE_PICKUP_TIMEOUT_SECONDS", parse=integer(1, 604800), default=300, meaning="a scheduled execution nobody claimed for so long has failed"),
    _V(name="ATTUNE_UNSCHEDULABLE_GRACE_SECONDS", parse=integer(1, 604800), default=None, default_text="none: wait without limit", meaning="how long an execution waits for workers that are away"),
    _V(name="ATTUNE_KILL_GRACE_SECONDS", parse=decimal(0.1, 600), default=5.0, default_text="5", meaning="from SIGTERM to SIGKILL"),
    _V(name="ATTUNE_SHUTDOWN_GRACE_SECONDS", parse=decimal(0, 86400), default=30.0, default_text="30", meaning="how long a stopping worker waits for what is running"),
    _V(name="ATTUNE_MAX_STDOUT_BYTES", parse=integer(1024, 2**40), default=10 * MIB, meaning="output kept per execution"),
    _V(name="ATTUNE_MAX_STDERR_BYTES", parse=integer(1024, 2**40), default=10 * MIB, meaning="the same for stderr"),
    _V(name="ATTUNE_LOG_RETENTION_DAYS", parse=integer(1, 36500), default=7, meaning="how long logs are kept"),
    _V(name="ATTUNE_STORAGE_BUDGET_GB", parse=integer(0, 10**6), default=20, meaning="logs and artifacts together; 0 = no limit"),
    _V(name="ATTUNE_BUILD_ENV", parse=names, default=[], default_text="none", meaning="names of proxy and index variables that environment builds get"),
    _V(name="ATTUNE_BUILD_TIMEOUT_SECONDS", parse=integer(1, 86400), default=600, meaning="time limit of an environment build"),
    _V(name="ATTUNE_HTTP_BLOCKED_NETWORKS", parse=networks, default=None, default_text="link-local and metadata addresses", meaning="networks core.http_request refuses"),
    # Sensors.
    _V(name="ATTUNE_SENSOR_SLOTS", parse=integer(1, 1000), default=20, meaning="sensors that one worker runs at the same time"),
    _V(name="ATTUNE_SENSOR_BACKOFF_SECONDS", parse=decimal(0.05, 300), default=5.0, default_text="5", meaning="until a sensor that failed is started again; doubled with each failure, at most 300"),
    _V(name="ATTUNE_SENSOR_EVENTS_PER_SECOND", parse=integer(0, 10**6), default=100, meaning="events a sensor may send, five times as many in a burst; 0 = no limit"),
)
# fmt: on
BY_NAME = {variable.name: variable for variable in VARIABLES}

# Meant for programs and clients (execution.md section 7): known, and ignored at a start.
FOR_PROGRAMS = frozenset(
    {
        "ATTUNE_API_URL", "ATTUNE_API_TOKEN", "ATTUNE_EXECUTION_ID", "ATTUNE_EXEC_ID", "ATTUNE_ACTION",
        "ATTUNE_PACK_REF", "ATTUNE_RULE", "ATTUNE_TRIGGER", "ATTUNE_PARAMETER_DELIVERY", "ATTUNE_PARAMETER_FORMAT",
        "ATTUNE_PARAMETER_FILE", "ATTUNE_ATTEMPT", "ATTUNE_TIMEOUT_SECONDS", "ATTUNE_SENSOR_REF",
        "ATTUNE_SENSOR_TRIGGERS", "ATTUNE_SENSOR_ID",
    }
)  # fmt: skip


def read(name: str, environ: Mapping[str, str] = os.environ) -> Any:
    """Return the value of a known variable, or its default. Raises BadSetting."""
    variable = BY_NAME[name]
    value = environ.get(name)
    if value is None or (value == "" and variable.parse is not secret):
        return variable.default
    try:
        return variable.parse(value)
    except ValueError as error:
        raise BadSetting(f"{name} {error}. It means: {variable.meaning}.") from None


def check_names(environ: Mapping[str, str] = os.environ) -> None:
    """Raise BadSetting for an ``ATTUNE_*`` name that nobody knows."""
    for name in sorted(environ):
        if not name.startswith("ATTUNE_") or name in BY_NAME or name in FOR_PROGRAMS:
            continue
        if name.startswith(("ATTUNE_CONTEXT_", "ATTUNE_SENSOR_CONFIG_")):
            continue
        near = difflib.get_close_matches(name, BY_NAME, n=1)
        hint = f" Did you mean {near[0]}?" if near else " The known names are in docs/configuration.md."
        raise BadSetting(f"{name} is not a setting of this product.{hint}")
