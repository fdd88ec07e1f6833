"""Bytes -> Examination: decode, EXIF, provenance, patches, both networks, score, a second look.

The same for a worker and the CLI.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.decode import decode
from pipeline.errors import RejectedUpload
from pipeline.patches import NotApplicable
from pipeline.ports import Detector, ExifReader, OneClassScorer
from pipeline.provenance import find_claims
from pipeline.records import Examination, ModelVersion, StoredObject, Timings
from pipeline.second_look import Looking, timed
from pipeline.settings import LimitSettings
from pipeline.statistics import self_described


@dataclass(frozen=True, slots=True)
class Examiner:
    """The stages that need nothing but the bytes and the model."""

    exif_reader: ExifReader
    detector: Detector
    limits: LimitSettings

    def examine(self, stored: StoredObject, model: ModelVersion, scorer: OneClassScorer) -> Examination:
        """Everything the bytes say. Bad bytes are an answer (`Examination.rejected`), not an exception.

        Raises:
            DetectorUnavailable: the detector failed; worth another try.
        """
        timings: Timings = {}
        found = Examination(sha256=stored.sha256, byte_size=len(stored.content), timings_ms=timings)
        try:
            with timed(timings, "decode"):
                image = decode(stored.content, self.limits)
            found = replace(found, format=image.format, width=image.width, height=image.height)
            with timed(timings, "exif"):
                exif, raw_tags = self.exif_reader.read(stored.content, image.format)
            with timed(timings, "provenance"):
                claims = find_claims(raw_tags)
            found = replace(found, exif=exif, provenance=claims)
            looking = Looking(self.detector, model, scorer, self.limits.patch_budget)
            look = looking.twice(image, exif, timings)
        except RejectedUpload as error:
            return replace(found, rejected=error.reason, detail=error.detail)
        except NotApplicable as error:
            return replace(found, not_applicable=error.reason)
        return replace(
            found,
            score=look.score,
            embedding=look.output.encoder.embedding,
            self_description=self_described(look.statistics),
            patch_count=len(look.patches.pixels),
        )


def rejected(error: RejectedUpload) -> Examination:
    """The examination of an upload whose bytes could not even be fetched; it has no digest."""
    return Examination(sha256="", byte_size=0, rejected=error.reason, detail=error.detail)
