"""The shapes of successful answers (api.md 1.4)."""

from typing import Any

from rest_framework import status as http
from rest_framework.response import Response


def single(data: Any, message: str = "", *, status: int = http.HTTP_200_OK) -> Response:
    """Return ``{"data": data}``, with a message for people after create, update and the like."""
    return Response({"data": data, "message": message} if message else {"data": data}, status=status)


def created(data: Any, message: str) -> Response:
    """Return ``{"data": data, "message": message}`` with status 201."""
    return single(data, message, status=http.HTTP_201_CREATED)


def done(message: str) -> Response:
    """Return the bare ``{"success": true, "message": message}`` of most deletions."""
    return Response({"success": True, "message": message})


def wrapped_done(message: str) -> Response:
    """Return ``{"data": {"success": true, "message": message}}``: identities, permissions, change of password."""
    return Response({"data": {"success": True, "message": message}})
