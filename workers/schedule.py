"""The beat table, nothing else. All times are UTC.

Each message expires when the next one is due, so that a worker that was away does not work off a backlog of them.
"""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab, schedule

from workers.lanes import MAINTENANCE, TRAINING, queue_name

SCHEDULE: dict[str, dict[str, Any]] = {
    "webhooks leave the outbox": {
        "task": "deliver_outbox",
        "schedule": schedule(run_every=5),
        "options": {"queue": queue_name(MAINTENANCE), "expires": 5},
    },
    "forgotten and postponed uploads are sent again": {
        "task": "resend_stale",
        "schedule": schedule(run_every=30),
        "options": {"queue": queue_name(MAINTENANCE), "expires": 30},
    },
    "every hour's scores are compared with the reference": {
        "task": "snapshot_drift",
        "schedule": crontab(minute=5),
        "options": {"queue": queue_name(MAINTENANCE), "expires": 3600},
    },
    "verified photographs refit the one-class model": {
        "task": "retrain_nightly",
        "schedule": crontab(hour=3, minute=0),
        "options": {"queue": queue_name(TRAINING), "expires": 12 * 3600},
    },
}
