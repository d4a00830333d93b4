"""Uploads of files: bounded while they arrive, never held in memory."""

from typing import IO, Any, Final

from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from apps.core.errors import BadRequest, PayloadTooLarge

LARGEST_FILE_BYTES: Final = 50 * 1024 * 1024
_ROOM_FOR_FIELDS = 1024 * 1024


class LimitedUpload(FileUploadHandler):
    """Refuses an upload as soon as it is known to be too large."""

    received = 0

    def handle_raw_input(
        self,
        input_data: IO[bytes],
        META: dict[str, str],
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> None:
        if content_length > LARGEST_FILE_BYTES + _ROOM_FOR_FIELDS:
            raise TooLarge

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        self.received += len(raw_data)
        if self.received > LARGEST_FILE_BYTES:
            raise TooLarge
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Another handler keeps the file."""


class TooLarge(PayloadTooLarge):
    """A file may have at most 50 MiB"""


def limit_uploads(request: HttpRequest) -> None:
    """Have the uploads of a request bounded; call before anything reads its body."""
    request.upload_handlers = [LimitedUpload(request), *request.upload_handlers]


def checked_upload(serializer: Any, request: Request) -> dict[str, Any]:
    """Return the checked form. Raises BadRequest without a file, ValidationError for what is wrong beside it."""
    if "file" not in request.FILES:
        raise BadRequest("The form field 'file' must hold the file")
    if not serializer.is_valid():
        raise ValidationError(serializer.errors)
    checked: dict[str, Any] = serializer.validated_data
    return checked
