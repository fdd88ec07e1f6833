"""Webhooks: verdicts leave the outbox, signed, at least once. How a receiver checks them: `docs/integrate.md`."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import structlog
from celery import shared_task

from pipeline.settings import WebSettings
from pipeline.store import Delivery, Transaction
from workers import metrics
from workers.app import PipelineTask
from workers.signature import HEADER, sign

log = structlog.get_logger(__name__)

BATCH = 100
FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=5), timedelta(hours=1)
"""Between two tries; doubled in between, and up to halved at random, so that not everything comes back at once."""
LONGEST_RETRY_AFTER = timedelta(days=1)
"""A receiver may ask for so much patience."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a try failed, and how long the receiver wants to be left alone."""

    error: str
    retry_after: timedelta = timedelta(0)


@shared_task(name="deliver_outbox", base=PipelineTask, bind=True)
def deliver_outbox(self: PipelineTask) -> None:
    """Try every delivery that is due, batch by batch, for at most half of the task's time."""
    settings, stores = self.dependencies.settings, self.dependencies.stores
    if not settings.web.webhook_secrets:
        return  # nothing leaves unsigned; the rows wait
    lease = timedelta(seconds=settings.worker.task_time_limit)
    deadline = time.monotonic() + settings.worker.task_time_limit / 2
    deliveries: list[Delivery] | None = None
    while deliveries is None or (len(deliveries) == BATCH and time.monotonic() < deadline):
        with stores.transaction() as transaction:
            deliveries = transaction.outbox.claim(limit=BATCH, lease=lease)
        for delivery, failure in deliver(deliveries, settings.web):
            with stores.transaction() as transaction:
                settle(transaction, delivery, failure, settings.web.webhook_patience)


def deliver(deliveries: Sequence[Delivery], settings: WebSettings) -> Iterator[tuple[Delivery, Failure | None]]:
    """Post them, in order; yields what went wrong with each, None for nothing.

    An endpoint that failed is not asked again here, so one that is silent costs one timeout and not a hundred.
    """
    failing: dict[str, Failure] = {}
    with httpx.Client(timeout=settings.webhook_timeout, follow_redirects=False) as client:
        for delivery in deliveries:
            failure = failing.get(delivery.callback) or post(client, delivery, settings)
            if failure:
                failing[delivery.callback] = failure
            yield delivery, failure


def post(client: httpx.Client, delivery: Delivery, settings: WebSettings) -> Failure | None:
    """One signed POST to the endpoint that is configured under the delivery's name; says what went wrong.

    Only the answer's status and headers are read: its body is of no use, and may be endless.
    """
    url = settings.webhooks.get(delivery.callback)
    if url is None:
        return Failure("no endpoint of this name is configured")
    body = json.dumps(delivery.payload, separators=(",", ":")).encode()
    secrets = [secret.get_secret_value() for secret in settings.webhook_secrets]
    headers = {
        "Content-Type": "application/json",
        "Lenswatch-Delivery": str(delivery.delivery_id),
        HEADER: sign(body, secrets, int(time.time())),
    }
    try:
        with client.stream("POST", str(url), content=body, headers=headers) as response:
            if response.is_success:
                return None
            return Failure(f"HTTP {response.status_code}", _retry_after(response.headers.get("Retry-After", "")))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Failure(type(error).__name__)  # its text may hold the URL, and that a password


def settle(transaction: Transaction, delivery: Delivery, failure: Failure | None, patience: timedelta) -> None:
    """Write down what became of one try."""
    now = datetime.now(UTC)
    if failure is None:
        transaction.outbox.delivered(delivery.id)
        outcome = "delivered"
    elif now - delivery.since >= patience:
        transaction.outbox.abandon(delivery.id, error=failure.error)
        outcome = "abandoned"
    else:
        delay = max(backoff(delivery.attempts), failure.retry_after)
        transaction.outbox.postpone(delivery.id, not_before=now + delay, error=failure.error)
        outcome = "postponed"
    metrics.DELIVERIES.labels(outcome).inc()
    log.info(
        "webhook",
        outcome=outcome,
        callback=delivery.callback,
        delivery=str(delivery.delivery_id),
        attempt=delivery.attempts,
        error=failure.error if failure else None,
    )


def backoff(attempts: int) -> timedelta:
    """Wait after so many tries."""
    doublings = min(attempts - 1, 20)  # far beyond the longest delay, and before the number gets out of hand
    return min(FIRST_DELAY * 2.0**doublings, LONGEST_DELAY) * random.uniform(0.5, 1)


def _retry_after(value: str) -> timedelta:
    """RFC 9110: seconds or a date. Anything else asks for nothing."""
    if value.isascii() and value.isdigit():
        wait = timedelta(seconds=min(int(value), LONGEST_RETRY_AFTER.total_seconds()))
    else:
        try:
            wait = parsedate_to_datetime(value) - datetime.now(UTC)
        except (ValueError, TypeError):  # no date, or one without a time zone
            return timedelta(0)
    return min(max(wait, timedelta(0)), LONGEST_RETRY_AFTER)
