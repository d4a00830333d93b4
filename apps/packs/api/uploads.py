"""Take in an uploaded archive piece by piece, up to its limit."""

from typing import Any

from django.core.files.uploadhandler import TemporaryFileUploadHandler

from apps.core.errors import PayloadTooLarge
from apps.packs.archives import MAX_ARCHIVE_BYTES


class ArchiveUploadHandler(TemporaryFileUploadHandler):
    """Keeps the upload in a file and stops at 100 MiB, over all files of the request together."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._received += len(raw_data)
        if self._received > MAX_ARCHIVE_BYTES:
            self.file.close()
            raise PayloadTooLarge(f"The archive is larger than {MAX_ARCHIVE_BYTES // 1024 // 1024} MiB")
        super().receive_data_chunk(raw_data, start)
