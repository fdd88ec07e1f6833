"""Watching: forgotten uploads, networks that died, scores that drift, buckets that contradict the ledger."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog
from celery import shared_task

from pipeline.errors import DetectorConfused, DetectorUnavailable, NotFound
from pipeline.records import Lane, Upload
from pipeline.settings import WorkerSettings
from pipeline.store import Transaction
from workers import metrics
from workers.app import TRAINING_TIME_LIMIT, PipelineTask, send_moderation
from workers.bootstrap import Dependencies
from workers.lanes import queue_name
from workers.reconcile import reconcile_bucket
from workers.recount import HOUR, merge_settled, recount
from workers.stream import translated

log = structlog.get_logger(__name__)

RESEND_BATCH = 500

Claim = Callable[[Transaction, int], list[Upload]]
"""Takes at most so many uploads that are to be sent again."""


@shared_task(name="resend_stale", base=PipelineTask, bind=True)
def resend_stale(self: PipelineTask) -> None:
    """Send the task again of uploads whose wait is over, or whose worker or message was lost."""
    deps = self.dependencies
    sent = _resend(self, partial(_due, deps.settings.worker))
    for lane in Lane:
        sent += _resend(self, partial(_silent, deps.settings.worker, lane), most=_lost_messages(deps, lane))
    if sent:
        log.info("uploads_resent", count=sent)


def _due(settings: WorkerSettings, transaction: Transaction, limit: int) -> list[Upload]:
    return transaction.uploads.claim_due(settings.stale_after, limit=limit)


def _silent(settings: WorkerSettings, lane: Lane, transaction: Transaction, limit: int) -> list[Upload]:
    return transaction.uploads.claim_silent(lane, settings.stale_after, limit=limit)


def _lost_messages(deps: Dependencies, lane: Lane) -> int:
    """How many more uploads wait for a worker than messages do; which uploads those are, nobody knows.

    Sending as many of the longest silent ones converges: a message too many finds its upload done and is gone, and the
    difference shows the rest. Messages that a worker holds are not counted, nor are their uploads: these are `scoring`.
    """
    with translated():  # first, so that what moves in between makes the difference smaller
        messages = int(deps.redis.llen(queue_name(lane)))
    with deps.stores.transaction() as transaction:
        return max(0, transaction.uploads.count_ready(lane) - messages)


def _resend(task: PipelineTask, claim: Claim, most: int | None = None) -> int:
    """Claim and send in batches, at most `most` in all; returns how many."""
    sent = 0
    while True:
        limit = RESEND_BATCH if most is None else min(RESEND_BATCH, most - sent)
        with task.dependencies.stores.transaction() as transaction:
            uploads = claim(transaction, limit) if limit else []
        for upload in uploads:  # after the commit; one that is not sent now is silent again later
            send_moderation(task.app, upload)
        sent += len(uploads)
        if len(uploads) < RESEND_BATCH:
            return sent


@shared_task(name="revive_networks", base=PipelineTask, bind=True)
def revive_networks(self: PipelineTask) -> None:
    """Load networks of the champion anew whose process died: Triton neither does it nor says so."""
    from pipeline.adapters.triton import BINARY, ENCODER  # gRPC: only in processes that use it

    deps = self.dependencies
    lock = deps.redis.lock("revive_networks", timeout=deps.settings.worker.task_time_limit, blocking=False)
    if not deps.settings.triton.revive or not lock.acquire():  # one at a time: a second would unload what is loaded
        return
    try:
        champion = deps.registry.resolve("champion")
        for network, version in ((ENCODER, champion.encoder_version), (BINARY, champion.binary_version)):
            revived = deps.triton_watch.revive(network, version)
            metrics.REVIVED_NETWORKS.labels(network).inc(revived)
            if revived:
                log.error("network_revived", network=network, version=version)
    except NotFound:
        pass  # nothing is published yet
    except (DetectorUnavailable, DetectorConfused) as error:  # away, busy or broken: uploads say so themselves
        log.warning("network_silent", error=str(error))
    finally:
        lock.release()


@shared_task(name="snapshot_drift", base=PipelineTask, bind=True)
def snapshot_drift(self: PipelineTask) -> None:
    """Hold the last hour's scores against the champion's reference, surface by surface."""
    from pipeline import monitor  # scipy.stats: only in the process that watches

    deps = self.dependencies
    with deps.stores.transaction() as transaction:
        snapshots = monitor.snapshot(transaction.drift, transaction.policies, deps.registry, deps.clock, deps.settings)
    for snapshot in snapshots:
        for alert in snapshot.alerts:
            log.warning("drift", surface=snapshot.surface, alert=str(alert))


@shared_task(name="count_scores", base=PipelineTask, bind=True)
def count_scores(self: PipelineTask) -> None:
    """Count this hour's verdicts and the last one's; an hour is counted once more after its end, so none is missed."""
    now = self.dependencies.clock.now()
    recount(self.dependencies, now - HOUR, now)
    merge_settled(self.dependencies)


@shared_task(name="reconcile", base=PipelineTask, bind=True, time_limit=TRAINING_TIME_LIMIT)
def reconcile(self: PipelineTask) -> None:
    """Compare the configured buckets with the ledger; repair only where the settings say so."""
    deps = self.dependencies
    for bucket in deps.settings.s3.buckets:
        counts = reconcile_bucket(deps, bucket, repair=deps.settings.worker.reconcile_repair)
        for finding, count in counts.items():
            metrics.RECONCILED.labels(bucket, finding).set(count)
        log.info("bucket_reconciled", bucket=bucket, **counts)
