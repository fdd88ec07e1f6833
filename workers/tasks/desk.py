"""Pictures of items that wait in the review queue, so that no reviewer waits for a decoder."""

from __future__ import annotations

import time

import structlog
from celery import shared_task

from pipeline.derived import prepare, remove_left
from pipeline.errors import NotFound, RetryableError
from workers.app import PipelineTask
from workers.bootstrap import Dependencies

log = structlog.get_logger(__name__)

SECONDS_PER_RUN = 8
"""Less than until the next run: webhooks leave by the same lane, in between."""


@shared_task(name="prepare_items", base=PipelineTask, bind=True)
def prepare_items(self: PipelineTask) -> None:
    """Draw, oldest item first, for a few seconds; the rest is the next run's. Before that, remove what nobody needs."""
    remove_left(self.dependencies.pictures)
    deadline = time.monotonic() + SECONDS_PER_RUN
    while time.monotonic() < deadline and prepare_next(self.dependencies):
        pass


def prepare_next(deps: Dependencies) -> bool:
    """Draw the pictures of one item; False where none waits. One that fails is not tried again here.

    Raises:
        RetryableError: a server is away; the item waits for another run.
    """
    with deps.stores.transaction() as transaction:
        claimed = transaction.pictures.claim_unprepared()
    if claimed is None:
        return False
    item_id, upload_id = claimed
    try:
        prepare(deps.pictures, upload_id)
    except RetryableError:
        with deps.stores.transaction() as transaction:
            transaction.pictures.unprepare(item_id)
        raise
    except NotFound as error:
        log.info("no_pictures", item=item_id, upload_id=upload_id, reason=str(error))
    except Exception:  # whatever it is about this image: others wait behind it
        log.exception("pictures_failed", item=item_id, upload_id=upload_id)
    return True
