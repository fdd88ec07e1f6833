"""The use case: one upload in, one verdict out. The flow of the whole project in one function."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from pipeline.errors import DetectorUnavailable, NotFound, RejectedUpload, RejectReason
from pipeline.examine import Examiner, rejected
from pipeline.fetch import fetch
from pipeline.ports import ModelRegistry, ObjectStore, PolicyStore, ResultStore, UploadStore
from pipeline.records import Examination, ModelVersion, Upload, UploadState, Verdict
from pipeline.settings import Settings
from pipeline.verdict import decide, policy_in_force, sampled

CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class ModerationDeps:
    """What the use case needs; the three stores belong to the caller's transaction."""

    uploads: UploadStore
    results: ResultStore
    policies: PolicyStore
    objects: ObjectStore
    registry: ModelRegistry
    examiner: Examiner
    settings: Settings


def moderate(upload: Upload, deps: ModerationDeps) -> Verdict:
    """Fetch, examine, decide, persist. Runs inside the caller's transaction; the caller counted the attempt.

    Raises:
        RetryableError: a server failed; nothing was written that the caller's rollback does not undo.
    """
    model = _champion(deps.registry)
    examination = _examine(upload, model, deps)
    verdict = decide(examination, policy_in_force(deps.policies, deps.settings, upload.event.surface))
    verdict = sampled(verdict, examination.sha256, deps.settings.review.sample_share)
    deps.results.save_examination(examination, model)
    deps.results.save_verdict(upload, examination, verdict, model)
    deps.uploads.finish(upload.id, UploadState.DONE, sha256=examination.sha256 or None)
    return verdict


def _champion(registry: ModelRegistry) -> ModelVersion:
    try:
        return registry.resolve(CHAMPION)
    except NotFound as error:  # a deployment that is not finished is no fault of the image
        raise DetectorUnavailable("no model version is the champion") from error


def _examine(upload: Upload, model: ModelVersion, deps: ModerationDeps) -> Examination:
    if upload.deleted_at is not None:
        return rejected(RejectedUpload(RejectReason.OBJECT_MISSING, "deleted"))
    started = time.perf_counter()
    try:
        stored = fetch(deps.objects, upload.event, deps.settings.limits)
    except RejectedUpload as error:
        return rejected(error)
    fetch_ms = (time.perf_counter() - started) * 1000
    known = deps.results.find_examination(stored.sha256, model)
    if known is not None:  # the same bytes under the same model: the same score, at the price of one query
        return replace(known, timings_ms={"fetch": fetch_ms})
    examination = deps.examiner.examine(stored, model, deps.registry.scorer(model))
    return replace(examination, timings_ms={"fetch": fetch_ms, **examination.timings_ms})
