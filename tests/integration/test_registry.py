"""The model registry on a real Postgres and a real S3; only the networks' server is a stand-in."""

import json
import shutil
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from sqlalchemy import text

from pipeline.adapters.registry import Registry
from pipeline.adapters.s3 import S3ObjectStore
from pipeline.errors import Conflict, DetectorUnavailable, NotFound, ObjectStoreUnavailable, StoreUnavailable
from pipeline.one_class import Fusion, Growth, Mixture, OneClassModel, View, Views
from pipeline.release import FILES, Release
from tests.factories import add_model
from tests.servers import settings_for
from tests.synthetic import silent_read_out


@dataclass
class StandInRepository:
    """Numbers networks as Triton's folder does: the same weights keep their version."""

    installed: list[bytes] = field(default_factory=list)
    fails: bool = False

    def install(self, release):
        if self.fails:
            raise StoreUnavailable("told to fail")
        return self._version(release, "encoder"), self._version(release, "binary")

    def _version(self, release, network):
        weights = network.encode() + (release.folder / f"{network}.safetensors").read_bytes()
        if weights not in self.installed:
            self.installed.append(weights)
        return self.installed.index(weights) + 1


@pytest.fixture
def repository():
    return StandInRepository()


@pytest.fixture
def objects(s3_server):
    return S3ObjectStore(settings_for(s3_server).s3)


@pytest.fixture
def settings(s3_server, request):
    """With a bucket of the test's own, which does not exist yet."""
    name = request.node.name.replace("_", "-").replace("[", "-").replace("]", "")[:50].rstrip("-")
    return settings_for(s3_server, LENSWATCH_S3__MODEL_BUCKET=f"m-{name}")


@pytest.fixture
def registry(stores, objects, settings):
    return Registry(stores, objects, settings)


SILENT = silent_read_out()


def one_class(calibration):
    mixture = Mixture(np.zeros(4), np.eye(4)[:, :2], np.ones(1), np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    scores = np.sort(np.asarray(calibration, dtype=np.float64))
    view = View(mixture, np.ones(4), np.zeros(1), np.ones(1), Growth(), np.full(1, 1 / 3))
    return OneClassModel(Views(view, view, view), mixture, Fusion(0, 1, 1, 1), scores, scores, scores).to_bytes()


@pytest.fixture
def make_release(tmp_path):
    def make(name="first-1", weights=b"weights", calibration=(0.1, 0.2), read_out=SILENT):
        folder = tmp_path / name
        folder.mkdir()
        for file in FILES:
            (folder / file).write_bytes(weights)
        (folder / "encoder.json").write_text(
            json.dumps({"tags": [{"name": "Flash", "kind": "class", "classes": ["0"]}]})
        )
        (folder / "one_class.json").write_text(json.dumps({"fit_photos": 7}))
        (folder / "one_class.npz").write_bytes(one_class(calibration))
        (folder / "read_out.npz").write_bytes(read_out.to_bytes())
        return Release.open(folder)

    return make


def test_a_published_release_scores(registry, repository, make_release):
    release = make_release()
    version = registry.publish(release, repository, actor="anna")
    assert registry.resolve("challenger") == registry.get("first-1") == version
    assert (version.encoder_version, version.binary_version, version.card["fit_photos"]) == (1, 2, 7)
    scorer = registry.scorer(version)
    np.testing.assert_array_equal(scorer.model.calibration_fused, [0.1, 0.2])
    assert scorer.tags == release.scorer().tags
    assert registry.scorer(version) is scorer


def test_every_file_is_stored(registry, repository, make_release, objects, settings):
    release = make_release()
    version = registry.publish(release, repository, actor="anna")
    for path in release.files():
        stored = objects.get(settings.s3.model_bucket, version.artifact_prefix + path.name, max_bytes=1 << 20)
        assert stored == path.read_bytes()


def test_publishing_again_changes_nothing(registry, repository, make_release):
    release = make_release()
    first = registry.publish(release, repository, actor="up", alias="champion")
    assert registry.publish(release, repository, actor="up", alias="champion") == first
    assert registry.publish(release, repository, actor="anna") == first  # the champion does not challenge itself
    assert registry.aliases() == {"champion": "first-1"}
    assert registry.list_versions() == [first]


@pytest.mark.parametrize("changes", [{"weights": b"others"}, {"calibration": (0.5,)}])
def test_a_name_stands_for_one_content(registry, repository, make_release, changes):
    release = make_release()
    first = registry.publish(release, repository, actor="anna")
    shutil.rmtree(release.folder)
    with pytest.raises(Conflict, match="other files"):
        registry.publish(make_release(**changes), repository, actor="anna")
    assert registry.list_versions() == [first]
    np.testing.assert_array_equal(registry.scorer(first).model.calibration_fused, [0.1, 0.2])


def test_a_triton_that_numbers_the_networks_otherwise_is_found_out(registry, repository, make_release):
    registry.publish(make_release("first-1"), repository, actor="anna")
    second = make_release("second-1", weights=b"others")
    registry.publish(second, repository, actor="anna")
    with pytest.raises(Conflict, match="Triton"):
        registry.publish(second, StandInRepository(), actor="anna")  # its folder was lost


def test_networks_that_do_not_come_up_leave_no_version(registry, make_release):
    release = make_release()
    with pytest.raises(StoreUnavailable):
        registry.publish(release, StandInRepository(fails=True), actor="anna")
    assert registry.list_versions() == []
    assert registry.publish(release, StandInRepository(), actor="anna").name == "first-1"


def test_a_refit_keeps_the_networks(registry, repository, make_release, database):
    base = registry.publish(make_release(), repository, actor="up", alias="champion")
    refit = registry.publish_refit(base, name="refit-1", one_class=one_class([0.7, 0.8]), card={"fit_photos": 9})
    assert (refit.encoder_version, refit.binary_version) == (base.encoder_version, base.binary_version)
    assert refit.card["fit_photos"] == 9
    assert registry.aliases() == {"champion": "first-1", "challenger": "refit-1"}
    np.testing.assert_array_equal(registry.scorer(refit).model.calibration_fused, [0.7, 0.8])
    assert registry.scorer(refit).tags == registry.scorer(base).tags
    assert database.execute(text("SELECT base_id FROM model_versions WHERE name = 'refit-1'")).scalar_one() == base.id
    again = registry.publish_refit(refit, name="refit-2", one_class=one_class([0.9]), card={})
    assert registry.scorer(again).tags == registry.scorer(base).tags
    with pytest.raises(Conflict):
        registry.publish_refit(base, name="refit-1", one_class=one_class([0.7, 0.8]), card={"fit_photos": 9})


@pytest.mark.parametrize("name", ["challenger", "refit-1"])
def test_a_promoted_challenger_is_no_challenger_any_more(registry, repository, make_release, name):
    base = registry.publish(make_release(), repository, actor="up", alias="champion")
    registry.publish_refit(base, name="refit-1", one_class=one_class([0.7]), card={})
    assert registry.promote(name, actor="anna", reason="gate passed").name == "refit-1"
    assert registry.aliases() == {"champion": "refit-1"}


def test_promoting_another_leaves_the_challenger(registry, repository, make_release):
    base = registry.publish(make_release(), repository, actor="up", alias="champion")
    registry.publish_refit(base, name="refit-1", one_class=one_class([0.7]), card={})
    registry.publish_refit(base, name="refit-2", one_class=one_class([0.8]), card={})
    registry.promote("refit-1", actor="anna", reason="by hand")
    assert registry.aliases() == {"champion": "refit-1", "challenger": "refit-2"}


def test_every_move_is_written_down(registry, repository, make_release, database):
    registry.publish(make_release("first-1"), repository, actor="up", alias="champion")
    second = registry.publish(make_release("second-1", weights=b"others"), repository, actor="anna")
    registry.promote("challenger", actor="boris", reason="looks better")
    moves = database.execute(text("SELECT alias, actor, reason FROM model_alias_history ORDER BY id")).all()
    assert moves == [
        ("champion", "up", "published"),
        ("challenger", "anna", "published"),
        ("champion", "boris", "looks better"),
        ("challenger", "boris", "looks better"),
    ]
    audited = database.execute(text("SELECT detail ->> 'to' FROM audit_log ORDER BY id DESC LIMIT 2")).scalars().all()
    assert audited == [None, str(second.id)]


def crown(stores, registry, names):
    """Make new versions champion, one after the other."""
    for name in names:
        with stores.transaction() as tx:
            add_model(tx, name=name)
        registry.promote(name, actor="anna", reason="")


def test_rollbacks_go_back_one_by_one_and_then_halt(stores, registry):
    crown(stores, registry, "abc")
    assert [registry.rollback(actor="anna", reason="").name for _ in range(2)] == ["b", "a"]
    for _ in range(2):
        with pytest.raises(NotFound, match="first champion"):
            registry.rollback(actor="anna", reason="")
    assert registry.resolve("champion").name == "a"


def test_a_rollback_after_a_new_promotion_undoes_that(stores, registry):
    crown(stores, registry, "abc")
    registry.rollback(actor="anna", reason="")  # b
    crown(stores, registry, "d")
    assert [registry.rollback(actor="anna", reason="").name for _ in range(2)] == ["b", "a"]


def test_an_old_version_that_was_promoted_again_can_be_undone(stores, registry):
    crown(stores, registry, "abc")
    registry.promote("a", actor="anna", reason="")
    assert registry.rollback(actor="anna", reason="").name == "c"


def test_what_is_not_there_is_not_found(registry):
    for call in (
        lambda: registry.resolve("champion"),
        lambda: registry.get("no-such"),
        lambda: registry.promote("challenger", actor="anna", reason=""),
        lambda: registry.rollback(actor="anna", reason=""),
    ):
        with pytest.raises(NotFound):
            call()


def test_lost_files_hold_uploads_up_and_do_not_reject_them(
    registry, repository, make_release, stores, objects, settings
):
    registry.publish(make_release(), repository, actor="anna")
    with stores.transaction() as tx:
        elsewhere = add_model(tx, artifact_prefix="models/gone/")
    with pytest.raises(ObjectStoreUnavailable, match="models/gone/"):
        registry.scorer(elsewhere)


def test_a_version_of_another_format_holds_uploads_up_and_does_not_bury_them(registry, repository, make_release):
    shorter = silent_read_out()
    old = make_release(read_out=replace(shorter, weights=shorter.weights[:705]))
    version = registry.publish(old, repository, actor="anna")
    with pytest.raises(DetectorUnavailable, match="705 statistics"):
        registry.scorer(version)
    old = make_release("before-growth")
    with np.load(old.folder / "one_class.npz") as archive:
        known = {name: archive[name] for name in archive.files if not name.endswith("_growth")}
    np.savez(old.folder / "one_class.npz", **known)
    version = registry.publish(old, repository, actor="anna")
    with pytest.raises(DetectorUnavailable, match=r"before-growth is not .* of format 5"):
        registry.scorer(version)
