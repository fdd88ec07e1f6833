"""The use case, with every server in memory: who is asked, and who is to blame."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.errors import DetectorUnavailable, ObjectStoreUnavailable
from pipeline.examine import Examiner
from pipeline.moderate import ModerationDeps, moderate
from pipeline.records import SurfacePolicy, UploadState, VerdictKind
from pipeline.settings import LimitSettings, Settings
from tests.factories import make_event
from tests.fakes import (
    NOON,
    FakeDetector,
    FakeExifReader,
    FakeObjectStore,
    FakePolicyStore,
    FakeRegistry,
    FakeResultStore,
    FakeUploadStore,
)
from tests.images import jpeg, photo


@pytest.fixture
def deps():
    uploads = FakeUploadStore()
    return ModerationDeps(
        uploads=uploads,
        results=FakeResultStore(uploads=uploads),
        policies=FakePolicyStore(),
        objects=FakeObjectStore({"uploads": {"a.jpg": jpeg(photo(128, 128))}}),
        registry=FakeRegistry(),
        examiner=Examiner(FakeExifReader(), FakeDetector(), LimitSettings()),
        settings=Settings(_env_file=None),
    )


@pytest.fixture
def upload(deps):
    return deps.uploads.record(make_event(key="a.jpg"))[0]


def test_an_upload_gets_its_verdict(deps, upload):
    assert moderate(upload, deps).kind is VerdictKind.CAMERA
    assert deps.uploads.rows[upload.id].state is UploadState.DONE


def test_what_a_lead_saved_for_the_surface_decides(deps, upload):
    deps.policies.policies["default"] = SurfacePolicy(0.02, 0.6)
    assert moderate(upload, deps).kind is VerdictKind.UNSURE, "the scorer's p-value is 0.5"
    deps.policies.policies = {"avatars": SurfacePolicy(0.02, 0.6)}
    assert moderate(upload, deps).kind is VerdictKind.CAMERA


def test_a_deleted_upload_is_rejected_and_nobody_is_asked(deps, upload):
    deps.objects.down = True
    verdict = moderate(replace(upload, deleted_at=NOON), deps)
    assert (verdict.kind, verdict.reason) == (VerdictKind.REJECTED, "object_missing")
    assert deps.examiner.detector.calls == 0
    assert deps.uploads.rows[upload.id].state is UploadState.DONE


@pytest.mark.parametrize(
    ("breaks", "error"),
    [
        (lambda deps: deps.objects.buckets.clear(), ObjectStoreUnavailable),  # NoSuchBucket: ours to put right
        (lambda deps: deps.registry.aliases.clear(), DetectorUnavailable),  # nothing was published yet
        (lambda deps: setattr(deps.examiner.detector, "fails", True), DetectorUnavailable),
    ],
    ids=["no bucket", "no champion", "no detector"],
)
def test_what_is_not_the_images_fault_is_an_outage(deps, upload, breaks, error):
    breaks(deps)
    with pytest.raises(error):
        moderate(upload, deps)
    assert deps.results.verdicts == {}
