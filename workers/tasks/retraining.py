"""The nightly refit."""

from __future__ import annotations

from celery import shared_task

from workers.app import TRAINING_TIME_LIMIT, PipelineTask


@shared_task(
    name="retrain_nightly",
    base=PipelineTask,
    bind=True,
    time_limit=TRAINING_TIME_LIMIT,
)
def retrain_nightly(self: PipelineTask) -> None:
    """Refit on verified photographs, judge, publish, perhaps promote; `pipeline.retrain.run` logs what came of it."""
    from pipeline.retrain.run import RetrainDeps, retrain  # scikit-learn: only in the process that refits

    deps = self.dependencies
    with deps.stores.transaction() as transaction:
        transaction.decisions.verify_all(reviewers_needed=deps.settings.retrain.reviewers_needed)
    retrain(RetrainDeps(deps.stores.transaction, deps.registry, deps.settings, deps.clock))
