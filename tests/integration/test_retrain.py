"""A night of retraining on real rows and a real bucket: photographs and decisions in, a promoted version out."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from pipeline.adapters.registry import Registry
from pipeline.adapters.s3 import S3ObjectStore
from pipeline.ports import VerifiedPhoto
from pipeline.records import ExifFacts, ModelVersion, VerdictKind
from pipeline.retrain import fit
from pipeline.retrain.run import Outcome, RetrainDeps, retrain
from pipeline.settings import Settings
from tests.factories import add_model, add_verdict, make_examination, make_score
from tests.fakes import FakeClock
from tests.reviewing import say, waiting
from tests.servers import settings_for
from tests.synthetic import confirmed, first_model, people, silent_read_out

TRUSTED = "camera-app"


@pytest.fixture(autouse=True)
def _few_configurations(monkeypatch):
    """Which configuration wins is `fit`'s matter; trying all of them takes half a minute here."""
    monkeypatch.setattr(fit, "AXES", (8,))
    monkeypatch.setattr(fit, "COMPONENTS", (1, 2))


@pytest.fixture(scope="module")
def settings(s3_server) -> Settings:
    retrain = json.dumps({"min_photos": 200, "trusted_surfaces": [TRUSTED], "reviewers_needed": 2})
    return settings_for(s3_server, LENSWATCH_RETRAIN=retrain)


@pytest.fixture
def registry(stores, settings) -> Registry:
    return Registry(stores, S3ObjectStore(settings.s3), settings)


@pytest.fixture
def champion(stores, settings, request) -> ModelVersion:
    """A published release, as far as scoring needs its files."""
    objects, prefix = S3ObjectStore(settings.s3), f"models/{request.node.name}/"
    objects.ensure_bucket(settings.s3.model_bucket)
    objects.put(settings.s3.model_bucket, prefix + "one_class.npz", first_model().to_bytes())
    objects.put(settings.s3.model_bucket, prefix + "encoder.json", b'{"tags": []}')
    objects.put(settings.s3.model_bucket, prefix + "read_out.npz", silent_read_out().to_bytes())
    with stores.transaction() as tx:
        model = add_model(tx, artifact_prefix=prefix, encoder_version=3, binary_version=4, card={"patch_budget": 64})
        tx.versions.point("champion", model.id, actor="tests", reason="first")
    return model


def upload(transaction, model: ModelVersion, photo: VerifiedPhoto, surface: str, kind=VerdictKind.CAMERA) -> None:
    exif = ExifFacts({"Make": photo.make, "Model": photo.model} if photo.make else {}, "exiftool")
    score = make_score(ai_probability=photo.ai_probability)
    examination = make_examination(embedding=photo.embedding, exif=exif, score=score)
    event = {"surface": surface, "uploader_id": photo.uploader_id}
    add_verdict(transaction, model, kind, examination=examination, decisions_needed=2, **event)


def review(transaction, surface: str, label: str, *reviewers: str) -> None:
    for item in waiting(transaction, surface=surface):
        for reviewer in reviewers:
            say(transaction, item.id, reviewer, label)


def fill(stores, champion, photos, *, reviewers=("ada", "ben")) -> None:
    """Trusted photographs, thirty AI images that reviewers confirmed, and what only one reviewer said."""
    with stores.transaction() as tx:
        for photo in photos:
            upload(tx, champion, photo, TRUSTED)
        for image in confirmed(30):
            upload(tx, champion, image, "posts", VerdictKind.UNSURE)
        review(tx, "posts", "not_camera", *reviewers)
        for photo in people(10, seed=3):
            upload(tx, champion, photo, "avatars", VerdictKind.UNSURE)
        review(tx, "avatars", "camera", "ada")


def test_a_night_publishes_and_promotes(stores, registry, champion, settings, database):
    fill(stores, champion, people(330))
    report = retrain(RetrainDeps(stores.transaction, registry, settings, FakeClock()))
    assert report.outcome is Outcome.PROMOTED, report
    assert report.counts["distinct"] == 330
    refit = registry.resolve("champion")
    assert (refit.name, refit.encoder_version, refit.binary_version) == (report.challenger, 3, 4)
    assert registry.aliases() == {"champion": refit.name}
    assert refit.card["gate"]["passed"] is True
    assert refit.card["refit_of"] == champion.name
    scorer = registry.scorer(refit)
    assert len(scorer.model.calibration_fused) == report.counts["calibration"]
    members = dict(
        database.execute(
            text("SELECT side, count(*) FROM training_members WHERE model_version_id = :id GROUP BY side"),
            {"id": refit.id},
        ).all()
    )
    sides = {side: report.counts[side] for side in ("fit", "calibration", "held_out")}
    assert members == {**sides, "confirmed_ai": 30}
    base = database.scalar(text("SELECT base_id FROM model_versions WHERE name = :name"), {"name": refit.name})
    assert base == champion.id
    assert registry.rollback(actor="tests", reason="drill").name == champion.name


def test_a_poisoned_night_is_refused(stores, registry, champion, settings):
    """Somebody got hold of the trusted surface: four in ten of its newest uploads are generated."""
    fill(stores, champion, [*people(210), *people(150, seed=1, generated=True)])
    report = retrain(RetrainDeps(stores.transaction, registry, settings, FakeClock()))
    assert report.outcome is Outcome.REFUSED
    assert "recall on confirmed AI images" in report.reason
    assert registry.resolve("champion").name == champion.name
    challenger = registry.resolve("challenger")
    assert challenger.card["gate"]["passed"] is False
    failed = {check["name"] for check in challenger.card["gate"]["checks"] if not check["passed"]}
    assert failed & {"flagged_recall", "not_camera_recall"}


def test_one_reviewer_does_not_confirm_an_ai_image(stores, registry, champion, settings):
    fill(stores, champion, people(330), reviewers=("ada",))
    report = retrain(RetrainDeps(stores.transaction, registry, settings, FakeClock()))
    assert report.outcome is Outcome.REFUSED
    assert report.reason == "recall on confirmed AI images"
    assert report.gate.checks[-1].count == 0


def test_a_quiet_night_changes_nothing(stores, registry, champion, settings):
    fill(stores, champion, people(60))
    report = retrain(RetrainDeps(stores.transaction, registry, settings, FakeClock()))
    assert report.outcome is Outcome.NOT_ENOUGH
    assert report.reason == "60 verified photographs of 200 needed"
    assert [version.name for version in registry.list_versions()] == [champion.name]
