"""A result store that lets the logs and the metrics see each verdict as it is written."""

from __future__ import annotations

import structlog

from pipeline.ports import PolicyStore, ResultStore
from pipeline.records import Examination, ModelVersion, Upload, Verdict
from pipeline.settings import Settings
from workers import metrics

log = structlog.get_logger(__name__)


class ObservedResults:
    """Implements `ports.ResultStore` by another one."""

    def __init__(self, results: ResultStore, policies: PolicyStore, settings: Settings) -> None:
        self._results = results
        self._policies = policies
        self._settings = settings

    def find_examination(self, sha256: str, model: ModelVersion) -> Examination | None:
        return self._results.find_examination(sha256, model)

    def save_examination(self, examination: Examination, model: ModelVersion) -> None:
        self._results.save_examination(examination, model)

    def save_verdict(self, upload: Upload, examination: Examination, verdict: Verdict, model: ModelVersion) -> int:
        verdict_id = self._results.save_verdict(upload, examination, verdict, model)
        surface = upload.event.surface
        log.info(
            "verdict",
            kind=verdict.kind.value,
            reason=verdict.reason,
            surface=surface,
            model_version=model.name,
            timings_ms={stage: round(ms, 1) for stage, ms in examination.timings_ms.items()},
        )
        metrics.observe_verdict(verdict, surface if self._is_configured(surface) else None, examination.timings_ms)
        return verdict_id

    def _is_configured(self, surface: str) -> bool:
        named = surface == "default" or surface in self._settings.surfaces
        return named or self._policies.saved(surface) is not None

    def bury(self, upload_id: int, *, stage: str, reason: str, detail: str) -> None:
        self._results.bury(upload_id, stage=stage, reason=reason, detail=detail)
