"""
Senders of webhooks as their own documentation describes them, for tests of what receives them.

HMAC is written out (RFC 2104) on purpose: what checks a signature must not be what made it.
"""

import base64
import hashlib

Headers = dict[str, str]


def hmac_of(key: bytes, message: bytes, algorithm: str = "sha256") -> bytes:
    """Return HMAC as RFC 2104 defines it."""
    block_size = hashlib.new(algorithm).block_size
    if len(key) > block_size:
        key = hashlib.new(algorithm, key).digest()
    key = key.ljust(block_size, b"\0")
    inner = hashlib.new(algorithm, bytes(byte ^ 0x36 for byte in key) + message).digest()
    return hashlib.new(algorithm, bytes(byte ^ 0x5C for byte in key) + inner).digest()


def plain(secret: str, body: bytes, *, algorithm: str = "sha256", header: str = "X-Webhook-Signature") -> Headers:
    return {header: f"{algorithm}={hmac_of(secret.encode(), body, algorithm).hex()}"}


def timed(secret: str, body: bytes, timestamp: str) -> Headers:
    """The plain way with a time: it is signed ahead of the body."""
    return {
        "X-Webhook-Timestamp": timestamp,
        "X-Webhook-Signature": hmac_of(secret.encode(), timestamp.encode() + b"." + body).hex(),
    }


def github(secret: str, body: bytes, *, delivery: str = "72d3162e-cc78-11e3-81ab-4c9367dc0958") -> Headers:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"""
    return {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature": f"sha1={hmac_of(secret.encode(), body, 'sha1').hex()}",
        "X-Hub-Signature-256": f"sha256={hmac_of(secret.encode(), body).hex()}",
    }


def gitlab(secret: str, *, event_uuid: str = "13792a34-cac6-4fda-95a8-c58e00a3954e") -> Headers:
    """https://docs.gitlab.com/user/project/integrations/webhooks/"""
    return {"X-Gitlab-Token": secret, "X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": event_uuid}


def slack(secret: str, body: bytes, timestamp: int) -> Headers:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack/"""
    signature = hmac_of(secret.encode(), f"v0:{timestamp}:".encode() + body).hex()
    return {"X-Slack-Request-Timestamp": str(timestamp), "X-Slack-Signature": f"v0={signature}"}


def stripe(secret: str, body: bytes, timestamp: int, *, before: str = "") -> Headers:
    """https://docs.stripe.com/webhooks#verify-manually; ``before``: what stands ahead of our v1."""
    signature = hmac_of(secret.encode(), f"{timestamp}.".encode() + body).hex()
    return {"Stripe-Signature": f"t={timestamp},{before}v1={signature},v0=6ffbb59b2300aae63f272406069a9788"}


def standard(secret: str, body: bytes, timestamp: int, *, delivery: str = "msg_1", before: str = "") -> Headers:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac_of(key, f"{delivery}.{timestamp}.".encode() + body)
    return {
        "webhook-id": delivery,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"{before}v1,{base64.b64encode(signature).decode()}",
    }
