"""The beat table and the nights' hours, nothing else. All times are UTC.

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
    "pictures of items that wait for a reviewer are drawn": {
        "task": "prepare_items",
        "schedule": schedule(run_every=10),
        "options": {"queue": queue_name(MAINTENANCE), "expires": 10},
    },
    "forgotten and postponed uploads are sent again": {
        "task": "resend_stale",
        "schedule": schedule(run_every=30),
        "options": {"queue": queue_name(MAINTENANCE), "expires": 30},
    },
    "networks of the champion that died in Triton are loaded anew": {
        "task": "revive_networks",
        "schedule": schedule(run_every=15),
        "options": {"queue": queue_name(MAINTENANCE), "expires": 15},
    },
    "every hour's scores are compared with the reference": {
        "task": "snapshot_drift",
        "schedule": crontab(minute=5),
        "options": {"queue": queue_name(MAINTENANCE), "expires": 3600},
    },
    "verdicts are counted by p-value for the thresholds page": {
        "task": "count_scores",
        "schedule": crontab(minute="*/5"),
        "options": {"queue": queue_name(MAINTENANCE), "expires": 300},
    },
    "what was kept long enough goes": {
        "task": "remove_expired",
        "schedule": crontab(minute=35),
        "options": {"queue": queue_name(MAINTENANCE), "expires": 3600},
    },
    "verified photographs refit the one-class model": {
        "task": "retrain_nightly",
        "schedule": crontab(minute=0),
        "options": {"queue": queue_name(TRAINING), "expires": 3600},
    },
    "buckets are compared with the ledger": {
        "task": "reconcile",
        "schedule": crontab(minute=0),
        "options": {"queue": queue_name(TRAINING), "expires": 3600},
    },
}

NIGHTLY = {"retrain_nightly": 3, "reconcile": 4}
"""Task -> hour from which it is due, once a night. It is asked for every hour, so a beat or a worker that was away at
that hour costs a delay and not the night; which night's run is over stands in the table `job_runs`."""
