"""Watching: uploads that were forgotten, and scores that drift."""

from __future__ import annotations

import structlog
from celery import shared_task

from workers.app import PipelineTask, send_moderation
from workers.lanes import MAINTENANCE, queue_name

log = structlog.get_logger(__name__)

RESEND_BATCH = 500


@shared_task(name="resend_stale", base=PipelineTask, bind=True, queue=queue_name(MAINTENANCE))
def resend_stale(self: PipelineTask) -> None:
    """Send the task again of uploads whose wait is over, or whose message or worker was lost."""
    dependencies = self.dependencies
    with dependencies.stores.transaction() as transaction:
        uploads = transaction.uploads.claim_stale(dependencies.settings.worker.stale_after, limit=RESEND_BATCH)
    for upload in uploads:  # after the commit; one that is not sent now is stale again later
        send_moderation(self.app, upload)
    if uploads:
        log.info("uploads_resent", count=len(uploads))
