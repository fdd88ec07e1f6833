"""Watching: uploads that were forgotten, and scores that drift."""

from __future__ import annotations

import structlog
from celery import shared_task

from pipeline import monitor
from workers.app import PipelineTask, send_moderation

log = structlog.get_logger(__name__)

RESEND_BATCH = 500


@shared_task(name="resend_stale", base=PipelineTask, bind=True)
def resend_stale(self: PipelineTask) -> None:
    """Send the task again of uploads whose wait is over, or whose message or worker was lost."""
    dependencies = self.dependencies
    with dependencies.stores.transaction() as transaction:
        uploads = transaction.uploads.claim_stale(dependencies.settings.worker.stale_after, limit=RESEND_BATCH)
    for upload in uploads:  # after the commit; one that is not sent now is stale again later
        send_moderation(self.app, upload)
    if uploads:
        log.info("uploads_resent", count=len(uploads))


@shared_task(name="snapshot_drift", base=PipelineTask, bind=True)
def snapshot_drift(self: PipelineTask) -> None:
    """Hold the last hour's scores against the champion's reference, surface by surface."""
    deps = self.dependencies
    with deps.stores.transaction() as transaction:
        snapshots = monitor.snapshot(transaction.drift, deps.registry, deps.clock, deps.settings)
    for snapshot in snapshots:
        for alert in snapshot.alerts:
            log.warning("drift", surface=snapshot.surface, alert=str(alert))
