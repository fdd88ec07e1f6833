"""The task that every upload gets."""

from __future__ import annotations

from celery import shared_task

from pipeline.moderate import moderate as moderate_upload
from workers.app import MODERATE, UploadTask


@shared_task(name=MODERATE, base=UploadTask, bind=True)
def moderate(self: UploadTask, upload_id: int) -> None:
    """Give the upload its verdict. Repeated messages find it given."""
    self.attempt(upload_id, moderate_upload)
