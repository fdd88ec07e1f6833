"""What has been kept long enough."""

from __future__ import annotations

from celery import shared_task

from pipeline.retention import RetentionDeps, remove_expired
from workers import metrics
from workers.app import PipelineTask

TIME_LIMIT = 1800
"""s; a run ends by its number of batches, long before."""


@shared_task(name="remove_expired", base=PipelineTask, bind=True, time_limit=TIME_LIMIT)
def remove_expired_rows(self: PipelineTask) -> None:
    """Remove a run's worth of expired rows; the use case logs how many."""
    deps = self.dependencies
    retention = RetentionDeps(
        deps.stores.transaction, deps.objects, deps.settings.s3.model_bucket, deps.settings.retention, deps.clock
    )
    for table, rows in remove_expired(retention).items():
        metrics.EXPIRED_ROWS.labels(table).inc(rows)
