"""Webhooks: verdicts leave the outbox, signed, at least once.

A receiver checks `Lenswatch-Signature: t=<unix time>,v1=<hex>`, where `v1` is HMAC-SHA256 of `<t>.<body>` under the
shared secret, refuses a `t` that is minutes old, and drops a `Lenswatch-Delivery` id that it has seen.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import httpx
import structlog
from celery import shared_task

from pipeline.settings import WebSettings
from pipeline.store import Delivery, Transaction
from workers import metrics
from workers.app import PipelineTask

log = structlog.get_logger(__name__)

BATCH = 100
FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=5), timedelta(hours=1)
"""Between two tries; doubled in between."""
MAX_ATTEMPTS = 20
"""About half a day; then the delivery is given up, and its row says so."""


@shared_task(name="deliver_outbox", base=PipelineTask, bind=True)
def deliver_outbox(self: PipelineTask) -> None:
    """Try every delivery that is due."""
    settings, stores = self.dependencies.settings, self.dependencies.stores
    if settings.web.webhook_secret is None:
        return  # nothing leaves unsigned; the rows wait
    lease = timedelta(seconds=settings.worker.task_time_limit)
    with stores.transaction() as transaction:
        deliveries = transaction.outbox.claim(limit=BATCH, lease=lease)
    for delivery, error in deliver(deliveries, settings.web):
        with stores.transaction() as transaction:
            settle(transaction, delivery, error)


def deliver(deliveries: Sequence[Delivery], settings: WebSettings) -> Iterator[tuple[Delivery, str | None]]:
    """Post them, in order; yields what went wrong with each, None for nothing.

    An endpoint that failed is not asked again here, so one that is silent costs one timeout and not a hundred.
    """
    failing: dict[str, str] = {}
    with httpx.Client(timeout=settings.webhook_timeout, follow_redirects=False) as client:
        for delivery in deliveries:
            error = failing.get(delivery.callback) or post(client, delivery, settings)
            if error:
                failing[delivery.callback] = error
            yield delivery, error


def post(client: httpx.Client, delivery: Delivery, settings: WebSettings) -> str | None:
    """One signed POST to the endpoint that is configured under the delivery's name; says what went wrong."""
    url, secret = settings.webhooks.get(delivery.callback), settings.webhook_secret
    if url is None or secret is None:
        return "no endpoint of this name is configured"
    body = json.dumps(delivery.payload, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json",
        "Lenswatch-Delivery": str(delivery.delivery_id),
        "Lenswatch-Signature": sign(body, secret.get_secret_value(), int(time.time())),
    }
    try:
        response = client.post(url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
    return None if response.is_success else f"HTTP {response.status_code}"


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """The signature header's value; `timestamp` is Unix time in seconds."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={digest.hexdigest()}"


def settle(transaction: Transaction, delivery: Delivery, error: str | None) -> None:
    """Write down what became of one try."""
    if error is None:
        transaction.outbox.delivered(delivery.id)
        outcome = "delivered"
    elif delivery.attempts >= MAX_ATTEMPTS:
        transaction.outbox.abandon(delivery.id, error=error)
        outcome = "abandoned"
    else:
        delay = min(FIRST_DELAY * 2 ** (delivery.attempts - 1), LONGEST_DELAY)
        transaction.outbox.postpone(delivery.id, not_before=datetime.now(UTC) + delay, error=error)
        outcome = "postponed"
    metrics.DELIVERIES.labels(outcome).inc()
    log.info("webhook", outcome=outcome, callback=delivery.callback, delivery=str(delivery.delivery_id), error=error)
