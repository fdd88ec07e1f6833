"""A night of retraining, from what was read to what was published."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pipeline.errors import NotFound
from pipeline.monitor import reference_of
from pipeline.one_class import VIEWS, OneClassModel
from pipeline.ports import VerifiedPhoto
from pipeline.records import Handling, ModelVersion, SurfacePolicy
from pipeline.retrain import fit
from pipeline.retrain.run import Outcome, RetrainDeps, retrain
from pipeline.score import Scorer
from pipeline.settings import Settings
from tests.fakes import FakeClock, FakePolicyStore
from tests.synthetic import confirmed, first_model, people, silent_read_out

SETTINGS = Settings(_env_file=None, retrain={"min_photos": 200})


@pytest.fixture(autouse=True)
def _few_configurations(monkeypatch):
    """Which configuration wins is `fit`'s matter, with tests of its own."""
    monkeypatch.setattr(fit, "AXES", (8,))
    monkeypatch.setattr(fit, "COMPONENTS", (1, 2))


@dataclass
class Training:
    photos: list[VerifiedPhoto]
    generated: list[VerifiedPhoto]
    erased: int = 0
    """Images that were erased while the night fitted."""
    members: dict[str, str] = field(default_factory=dict)

    def verified_photos(self, encoder_version: int, **_: Any) -> list[VerifiedPhoto]:
        return self.photos

    def confirmed_ai(self, encoder_version: int, **_: Any) -> list[VerifiedPhoto]:
        return self.generated

    def record_members(self, model_version_id: int, sides: dict[str, str]) -> int:
        self.members |= sides
        return len(sides) - self.erased


@dataclass
class Registry:
    models: dict[str, OneClassModel]
    versions: dict[str, ModelVersion] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=lambda: {"champion": "first"})

    def resolve(self, alias: str) -> ModelVersion:
        if alias not in self.aliases:
            raise NotFound(alias)
        return self.versions.setdefault(self.aliases[alias], ModelVersion(1, "first", 3, 4, "first/"))

    def scorer(self, model: ModelVersion) -> Scorer:
        return Scorer(self.models[model.name], silent_read_out(), tags=())

    def publish_refit(self, base: ModelVersion, *, name: str, one_class: bytes, card: dict[str, Any]) -> ModelVersion:
        self.models[name] = OneClassModel.from_bytes(one_class)
        version = replace(base, id=base.id + 1, name=name, card=json.loads(json.dumps(card)))
        self.versions[name], self.aliases["challenger"] = version, name
        return version

    def promote(self, name: str, *, actor: str, reason: str) -> ModelVersion:
        self.aliases["champion"] = name
        return self.versions[name]


def night(
    photos,
    generated,
    *,
    settings: Settings = SETTINGS,
    registry: Registry | None = None,
    erased: int = 0,
    policies=None,
):
    registry = registry or Registry({"first": first_model()})
    training = Training(photos, generated, erased=erased)

    @contextmanager
    def transaction():
        yield type("Transaction", (), {"training": training, "policies": policies or FakePolicyStore()})

    return retrain(RetrainDeps(transaction, registry, settings, FakeClock())), registry


def test_a_good_night_promotes_its_refit():
    report, registry = night(people(600), confirmed(60))
    assert report.outcome is Outcome.PROMOTED, report
    assert registry.aliases == {"champion": report.challenger, "challenger": report.challenger}
    assert report.challenger == "refit-20260102T120000Z"
    card = registry.versions[report.challenger].card
    assert card["refit_of"] == "first"
    assert card["gate"]["passed"] is True
    assert card["calibration_photos"] == sum(card["calibration_makes"].values()) == report.counts["calibration"]
    assert registry.versions[report.challenger].encoder_version == 3, "the networks stay"
    json.dumps(report.as_json())


def test_the_same_photographs_give_the_same_model():
    first, again = (night(people(600), confirmed(60))[1] for _ in range(2))
    [name] = set(first.models) - {"first"}
    assert first.models[name].to_bytes() == again.models[name].to_bytes()


def test_a_refit_weighs_the_views_as_its_champion_does():
    """It knows no histories to weigh them by."""
    report, registry = night(people(600), confirmed(60))
    weights = registry.models["first"].image.weights
    assert len(set(weights.values())) == len(VIEWS), "else this test could not tell"
    assert registry.models[report.challenger].image.weights == pytest.approx(weights)


def test_photographs_that_were_handled_alike_calibrate_each_other():
    """Soft ones are too few to accuse anybody: all calibration photographs answer for them."""
    kinds = [Handling.AS_MADE, Handling.HANDLED] * 10 + [Handling.SOFT]
    photos = [replace(photo, handling=kinds[number % 21]) for number, photo in enumerate(people(600))]
    report, registry = night(photos, confirmed(60))
    model = registry.models[report.challenger]
    as_made, handled, soft = model.strata
    assert registry.versions[report.challenger].card["calibration_photos_by_stratum"]["soft"] == len(soft)
    calibration = report.counts["calibration"]
    assert len(soft) == calibration == len(model.calibration_fused)
    assert 0.8 * calibration < len(as_made) + len(handled) < calibration
    assert set(as_made).isdisjoint(handled)
    assert set(as_made) | set(handled) < set(model.calibration_fused)


def test_photographs_of_older_scores_calibrate_all_together():
    report, registry = night(people(600), confirmed(60))
    assert registry.models[report.challenger].strata == ()


def test_the_refit_is_the_reference_of_tomorrows_drift():
    report, registry = night(people(600), confirmed(60))
    version = registry.versions[report.challenger]
    reference = reference_of(version, registry.scorer(version))
    assert len(reference.log_likelihood) == report.counts["calibration"]
    assert set(reference.makes) == {"Apple", "Canon", "Sony"}
    assert reference.formats is None


def test_a_poisoned_set_is_published_for_people_to_see_but_not_promoted():
    """Accounts that agree with each other pass generated images off as photographs of plausible cameras."""
    report, registry = night(people(400) + people(300, seed=1, generated=True), confirmed(60))
    assert report.outcome is Outcome.REFUSED
    assert "recall on confirmed AI images" in report.reason
    assert registry.aliases == {"champion": "first", "challenger": report.challenger}


def test_without_confirmed_ai_images_a_person_has_to_decide():
    report, registry = night(people(600), [])
    assert report.outcome is Outcome.REFUSED
    assert report.reason == "recall on confirmed AI images"
    assert registry.aliases["champion"] == "first"


def test_too_few_photographs_leave_everything_as_it_is():
    report, registry = night(people(150), confirmed(60))
    assert report.outcome is Outcome.NOT_ENOUGH
    assert report.reason == "150 verified photographs of 200 needed"
    assert registry.aliases == {"champion": "first"}


def test_what_leads_saved_says_how_many_photographs_calibration_needs():
    strict = FakePolicyStore({"avatars": SurfacePolicy(not_camera_fpr=0.002)})
    report, _ = night(people(600), confirmed(60), policies=strict)
    assert report.outcome is Outcome.NOT_ENOUGH, report


def test_without_auto_promotion_the_challenger_waits():
    settings = Settings(_env_file=None, retrain={"min_photos": 200, "auto_promote": False})
    report, registry = night(people(600), confirmed(60), settings=settings)
    assert report.outcome is Outcome.PUBLISHED
    assert registry.aliases["champion"] == "first"


def test_a_champion_that_changed_meanwhile_is_not_replaced():
    """Somebody rolled back while the refit was being fitted: it was never compared with that version."""

    class Restless(Registry):
        def publish_refit(self, *args: Any, **kwargs: Any) -> ModelVersion:
            version = super().publish_refit(*args, **kwargs)
            self.aliases["champion"], self.versions["other"] = "other", replace(version, id=77, name="other")
            return version

    report, registry = night(people(600), confirmed(60), registry=Restless({"first": first_model()}))
    assert report.outcome is Outcome.PUBLISHED
    assert registry.aliases["champion"] == "other"


def test_a_refit_of_images_that_were_erased_meanwhile_is_not_promoted():
    """The erasure that took them could not name it among the models that had used them."""
    report, registry = night(people(600), confirmed(60), erased=2)
    assert (report.outcome, report.reason) == (Outcome.REFUSED, "2 of its images were erased while it was fitted")
    assert registry.aliases["champion"] == "first"


def test_without_a_champion_there_is_nothing_to_succeed():
    with pytest.raises(NotFound):
        night(people(600), [], registry=Registry({}, aliases={}))
