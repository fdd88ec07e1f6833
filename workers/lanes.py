"""Lanes: queues that never wait for one another. Redis priorities inside one queue are no substitute (celery #5874)."""

from __future__ import annotations

from pipeline.records import Lane

MAINTENANCE = "maintenance"
"""Short jobs that beat starts."""

TRAINING = "training"
"""The nightly retraining, which no short job should wait behind."""

LANES = (*(lane.value for lane in Lane), MAINTENANCE, TRAINING)


def queue_name(lane: str) -> str:
    """Key of the lane's Celery queue in Redis."""
    return f"lenswatch.{lane}"
