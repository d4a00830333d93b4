"""What holds everywhere. Read from the environment only here and in ``env.py``."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url

from settings import env
from settings.addresses import local_url
from settings.console import UNFOLD as UNFOLD
from settings.logs import logging_config
from settings.secrets import check_strength, kept_secret

BASE_DIR = env.BASE_DIR
env.check_names()

# --- Where things are -------------------------------------------------------------------------------------------
ATTUNE_VERSION = "0.1.0"
STATE_DIR: Path = env.read("ATTUNE_STATE_DIR")
PACKS_DIR: Path = env.read("ATTUNE_PACKS_DIR") or STATE_DIR / "packs"
RUNTIME_ENVS_DIR: Path = env.read("ATTUNE_RUNTIME_ENVS_DIR") or STATE_DIR / "runtime_envs"
ARTIFACTS_DIR: Path = env.read("ATTUNE_ARTIFACTS_DIR") or STATE_DIR / "artifacts"
CORE_PACK_DIR = BASE_DIR / "packs" / "core"
HOST: str = env.read("ATTUNE_HOST")
PORT: int = env.read("ATTUNE_PORT")
PUBLIC_API_URL_IS_SET = env.read("ATTUNE_PUBLIC_API_URL") is not None
PUBLIC_API_URL: str = (env.read("ATTUNE_PUBLIC_API_URL") or local_url(HOST, PORT)).rstrip("/")

# --- Keys -------------------------------------------------------------------------------------------------------
JWT_SECRET = kept_secret(STATE_DIR / "jwt_secret", env.read("ATTUNE_JWT_SECRET"), variable="ATTUNE_JWT_SECRET")
JWT_PREVIOUS_SECRETS: list[str] = env.read("ATTUNE_JWT_PREVIOUS_SECRETS")
JWT_ACCESS_LIFETIME = timedelta(seconds=env.read("ATTUNE_JWT_ACCESS_SECONDS"))
JWT_REFRESH_LIFETIME = timedelta(seconds=env.read("ATTUNE_JWT_REFRESH_SECONDS"))
INTERNAL_TOKEN: str | None = env.read("ATTUNE_INTERNAL_TOKEN")
ENCRYPTION_KEY = kept_secret(
    STATE_DIR / "encryption_key", env.read("ATTUNE_ENCRYPTION_KEY"), variable="ATTUNE_ENCRYPTION_KEY"
)
ENCRYPTION_PREVIOUS_KEYS: list[str] = env.read("ATTUNE_ENCRYPTION_PREVIOUS_KEYS")
check_strength(ENCRYPTION_KEY, variable="ATTUNE_ENCRYPTION_KEY")
for _key in ENCRYPTION_PREVIOUS_KEYS:
    check_strength(_key, variable="A key in ATTUNE_ENCRYPTION_PREVIOUS_KEYS")
# Signs sessions and forms only; one secret to look after, and the two uses never see each other's key.
SECRET_KEY = f"django:{JWT_SECRET}"
SECRET_KEY_FALLBACKS = [f"django:{secret}" for secret in JWT_PREVIOUS_SECRETS]
ALLOW_SELF_REGISTRATION: bool = env.read("ATTUNE_ALLOW_SELF_REGISTRATION")
INQUIRIES_OPEN_TO_ALL: bool = env.read("ATTUNE_INQUIRIES_OPEN_TO_ALL")
ADMIN_LOGIN: str | None = env.read("ATTUNE_ADMIN_LOGIN")
SEED_IDENTITIES: list[dict[str, Any]] = env.read("ATTUNE_SEED_IDENTITIES")
ADMIN_PASSWORD: str | None = env.read("ATTUNE_ADMIN_PASSWORD")
ARGON2_PARAMETERS: dict[str, Any] = {}  # the library's defaults
TRUSTED_PROXIES: list[str] = env.read("ATTUNE_TRUSTED_PROXIES")
IDEMPOTENCY_TTL = timedelta(hours=env.read("ATTUNE_IDEMPOTENCY_TTL_HOURS"))
EVENT_MAX_PAYLOAD_BYTES: int = env.read("ATTUNE_EVENT_MAX_PAYLOAD_KB") * 1024
WEBHOOK_MAX_BODY_BYTES: int = env.read("ATTUNE_WEBHOOK_MAX_BODY_KB") * 1024
AUDIT_IN_BACKGROUND = True  # a thread of each process writes the trail; without it, a flush does
METRICS_TOKEN: str | None = env.read("ATTUNE_METRICS_TOKEN")

# --- The worker and the engine ----------------------------------------------------------------------------------
WORKER_NAME: str = env.read("ATTUNE_WORKER_NAME")
# A worker for sensors may stand beside one for executions on the same host, and names are unique.
SENSOR_WORKER_NAME = (
    f"{WORKER_NAME}-sensors" if env.BY_NAME["ATTUNE_WORKER_NAME"].default == WORKER_NAME else WORKER_NAME
)
WORKER_TYPE: str = env.read("ATTUNE_WORKER_TYPE")
WORKER_RUNTIMES: list[str] | None = env.read("ATTUNE_WORKER_RUNTIMES")
WORKER_LABELS: dict[str, str] = env.read("ATTUNE_WORKER_LABELS")
WORKER_TAINTS: list[dict[str, Any]] = env.read("ATTUNE_WORKER_TAINTS")
WORKER_SLOTS: int = env.read("ATTUNE_WORKER_SLOTS")
HEARTBEAT_SECONDS: float = env.read("ATTUNE_HEARTBEAT_SECONDS")
LEASE_SECONDS: float = env.read("ATTUNE_LEASE_SECONDS")
SWEEP_SECONDS: float = env.read("ATTUNE_SWEEP_SECONDS")
TASK_TIMEOUT_SECONDS: int = env.read("ATTUNE_TASK_TIMEOUT_SECONDS")
PICKUP_TIMEOUT_SECONDS: int = env.read("ATTUNE_PICKUP_TIMEOUT_SECONDS")
UNSCHEDULABLE_GRACE_SECONDS: int | None = env.read("ATTUNE_UNSCHEDULABLE_GRACE_SECONDS")
KILL_GRACE_SECONDS: float = env.read("ATTUNE_KILL_GRACE_SECONDS")
SHUTDOWN_GRACE_SECONDS: float = env.read("ATTUNE_SHUTDOWN_GRACE_SECONDS")
MAX_STDOUT_BYTES: int = env.read("ATTUNE_MAX_STDOUT_BYTES")
MAX_STDERR_BYTES: int = env.read("ATTUNE_MAX_STDERR_BYTES")
LOG_RETENTION_DAYS: int = env.read("ATTUNE_LOG_RETENTION_DAYS")
STORAGE_BUDGET_GB: int = env.read("ATTUNE_STORAGE_BUDGET_GB")
BUILD_ENV_NAMES: list[str] = env.read("ATTUNE_BUILD_ENV")
BUILD_TIMEOUT_SECONDS: int = env.read("ATTUNE_BUILD_TIMEOUT_SECONDS")
HTTP_BLOCKED_NETWORKS: list[str] | None = env.read("ATTUNE_HTTP_BLOCKED_NETWORKS")
SENSOR_SLOTS: int = env.read("ATTUNE_SENSOR_SLOTS")
SENSOR_BACKOFF_SECONDS: float = env.read("ATTUNE_SENSOR_BACKOFF_SECONDS")
SENSOR_EVENTS_PER_SECOND: int = env.read("ATTUNE_SENSOR_EVENTS_PER_SECOND")
if LEASE_SECONDS < 3 * HEARTBEAT_SECONDS or LEASE_SECONDS < 2 * KILL_GRACE_SECONDS:
    raise env.BadSetting(
        f"ATTUNE_LEASE_SECONDS ({LEASE_SECONDS:g}) must be at least three times ATTUNE_HEARTBEAT_SECONDS "
        f"({HEARTBEAT_SECONDS:g}) and twice ATTUNE_KILL_GRACE_SECONDS ({KILL_GRACE_SECONDS:g})."
    )

# --- Django -----------------------------------------------------------------------------------------------------
DEBUG = False
ALLOWED_HOSTS: list[str] = env.read("ATTUNE_ALLOWED_HOSTS")
INSTALLED_APPS = [
    "attune",  # the Celery app, and with it every management command, must be the configured one
    "unfold.apps.BasicAppConfig",
    "attune.admin_config.ConsoleConfig",  # django.contrib.admin with our site
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "apps.core",
    "apps.identity",
    "apps.packs",
    "apps.keys",
    "apps.workers",
    "apps.actions",
    "apps.executions",
    "apps.events",
    "apps.rules",
    "apps.inquiries",
    "apps.workflows",
    "apps.queues",
]
MIDDLEWARE = [
    "apps.core.api.middleware.RequestId",
    "apps.identity.audit.middleware.Audit",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "apps.core.api.middleware.CookieOrigin",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "attune.urls"
WSGI_APPLICATION = "attune.wsgi.application"
ASGI_APPLICATION = "attune.asgi.application"
AUTH_USER_MODEL = "identity.Identity"
LOGIN_REDIRECT_URL = "admin:index"
AUTHENTICATION_BACKENDS = ["apps.identity.backends.PasswordBackend"]  # the console's login page
LOGIN_URL = "/admin/login/"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "attune" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
LANGUAGE_CODE = "en-us"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
TZ_OF_THIS_HOST = os.environ.get("TZ")  # programs get this one: Django sets its own in the process's environment
STATIC_URL = "static/"
STATIC_ROOT = None
WHITENOISE_USE_FINDERS = True  # one process, one command: nothing to collect first
APPEND_SLASH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024  # JSON bodies above it answer 413 (api.md 1.3)

# Pages of other origins may call the API (api.md 1.9); never "*", since credentials travel along.
CORS_ALLOWED_ORIGINS: list[str] = env.read("ATTUNE_CORS_ORIGINS") or [
    f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in (3000, 3001, 5173, 8080)
]
CORS_ALLOW_CREDENTIALS = True
CORS_EXPOSE_HEADERS = [
    "x-request-id", "idempotent-replayed", "retry-after", "content-disposition", "content-range", "accept-ranges", "etag",
    "x-log-size", "x-log-offset", "x-log-next-offset", "x-log-complete", "x-log-truncated", "x-log-dropped-bytes",
]  # fmt: skip
CORS_ALLOW_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
CORS_ALLOW_HEADERS = [
    "authorization", "content-type", "accept", "idempotency-key", "last-event-id", "range", "x-request-id",
]  # fmt: skip
LOG_LEVEL: str = env.read("ATTUNE_LOG_LEVEL")
LOGGING = logging_config(LOG_LEVEL)

# --- The database -----------------------------------------------------------------------------------------------
DATABASE_SCHEMA: str = env.read("ATTUNE_DATABASE_SCHEMA")
SQLITE = "attune.sqlite"  # Django's own, where the threads of a process take turns at writing


def database(url: str | None) -> dict[str, Any]:
    """Return Django's settings of one database for a DATABASE_URL, SQLite in the state directory without one."""
    config: dict[str, Any] = dict(dj_database_url.parse(url or f"sqlite:///{STATE_DIR / 'attune.sqlite3'}"))
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["ENGINE"] = SQLITE
        config["CONN_MAX_AGE"] = None  # one persistent connection per thread
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",  # a writer waits at its start, never fails at its first write
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
        }
        return config
    config["CONN_MAX_AGE"] = 0  # the pool keeps connections, a running action holds none
    config["OPTIONS"] = {
        **config.get("OPTIONS", {}),
        "pool": {"min_size": 2, "max_size": WORKER_SLOTS + 34, "timeout": 15},
        # A server that vanishes without a word is noticed within 15 s; a lease is lost meanwhile, a worker is not.
        "connect_timeout": 5,
        "keepalives_idle": 5,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 15000,
        # attune.origin tells the product's own writes from an operator's SQL (history rows with actor "sql").
        # A process that is stopped in mid-transaction must not hold its locks for ever.
        "options": (
            f"-c search_path={DATABASE_SCHEMA},public -c attune.origin=attune "
            "-c idle_in_transaction_session_timeout=20000"
        ),
    }
    return config


DATABASES = {"default": database(env.read("DATABASE_URL"))}

# --- Celery -----------------------------------------------------------------------------------------------------
CELERY_BROKER_URL: str = env.read("CELERY_BROKER_URL")
if CELERY_BROKER_URL == "memory://":
    CELERY_BROKER_URL = "memory://localhost/"  # the same broker; without a host kombu warns
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_CONSUMER = "attune.worker:Consumer"
CELERY_WORKER_POOL = "threads"  # a slot mostly waits for a child process
CELERY_WORKER_CONCURRENCY = WORKER_SLOTS
# Dispatch never hands over more than there are slots, so nothing is hoarded; and with a limit the window is re-opened
# only at the next poll when a pool thread acknowledges.
CELERY_WORKER_PREFETCH_MULTIPLIER = 0
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
# Celery would close the database connection before and after every task; the runner looks after its own: SQLite's
# stays with the thread, PostgreSQL's goes back to the pool while a program runs.
CELERY_DB_REUSE_MAX = 2**62
CELERY_TASK_PUBLISH_RETRY = False  # the row is the queue: the sweep announces again
# A publication that fails fails soon: the caller may be answering a request, and the sweep announces again. (Without
# these Celery tries for 6 s; the consumer's own reconnect knows no end, whatever stands here.)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "max_retries": 1,
    "interval_start": 0.1,
    "interval_step": 0.1,
    "interval_max": 0.1,
}

# --- REST -------------------------------------------------------------------------------------------------------
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.identity.authentication.TokenAuthentication",
        "apps.identity.authentication.BrowserAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["apps.identity.permissions.ClassifiedPermission"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "apps.core.api.renderers.BrowsableRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": ["apps.core.api.parsers.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "apps.core.api.renderers.LenientNegotiation",
    "DEFAULT_SCHEMA_CLASS": "apps.core.api.schema.AttuneSchema",
    "EXCEPTION_HANDLER": "apps.core.api.handler.answer",
    "URL_FORMAT_OVERRIDE": None,  # ?format= belongs to the endpoints (exports)
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "TEST_REQUEST_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "rest_framework.renderers.MultiPartRenderer",
    ],
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Attune",
    "DESCRIPTION": "Runs automation: an event arrives, a rule matches, an action runs, its result is kept.",
    "VERSION": ATTUNE_VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "deepLinking": True, "displayOperationId": False},
    "SCHEMA_PATH_PREFIX": r"/(api/v1|auth)",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
    "ENUM_NAME_OVERRIDES": {
        "ExecutionStatus": "apps.executions.states.Status",
        "RetentionPolicy": "apps.actions.models.ArtifactRetentionPolicy",
        "OwnerType": "apps.executions.models.OwnerType",
        "ArtifactType": "apps.executions.models.ArtifactType",
        "WorkerStatus": "apps.workers.models.WorkerStatus",
        "EnvironmentStatus": "apps.workers.models.EnvironmentStatus",
        "EnforcementStatus": "apps.rules.models.EnforcementStatus",
        "EnforcementCondition": "apps.rules.models.EnforcementCondition",
        "DecisionOutcome": "apps.rules.models.Outcome",
        "InquiryStatus": "apps.inquiries.models.InquiryStatus",
        "AllOrFailed": "apps.executions.api.bodies.ALL_OR_FAILED",
        "QueueItemStatus": "apps.queues.models.ItemStatus",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.core.api.schema.describe_errors",
    ],
}
