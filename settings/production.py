"""Behind a proxy with TLS, on several hosts: stricter where a laptop need not be."""

from settings.base import *  # noqa: F403  # a settings module is its base with changes
from settings.base import JWT_SECRET
from settings.env import BadSetting

if len(JWT_SECRET.encode()) < 32:
    raise BadSetting("ATTUNE_JWT_SECRET has fewer than 32 bytes. Set a random text of 32 characters or more.")

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
