"""The encoder's recipe: each element can be switched off, and the table that says what each is worth."""

import json
import sys

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.encoder import ablation
from pipeline.encoder.ablation import CONSTANT, ROWS, Ablation, markdown, run_ablation
from pipeline.encoder.export import load_exported_encoder
from pipeline.encoder.heads import PlainHeads, first_heads, start_at
from pipeline.encoder.loop import Budget, Schedule
from pipeline.encoder.network import ExifHeads
from pipeline.encoder.place import Workplace
from pipeline.encoder.tags import EXTRA, ORDER
from pipeline.encoder.train import SWITCHES, EncoderTraining, PretextModel, PretextTask, train_encoder
from tests.images import camera_jpeg

CPU = Workplace(torch.device("cpu"))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two cameras, 14 sources; some of the sources are held out."""
    folder = tmp_path_factory.mktemp("photographs")
    for n in range(14):
        source = folder / f"trip {n}"
        source.mkdir()
        (source / f"{n}.jpg").write_bytes(camera_jpeg(seed=n, make=f"Maker {n % 2}", FNumber=2.0 + n))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr("pipeline.encoder.tags.MIN_PHOTOGRAPHS", 2)  # there are only 14


def training(photographs, cache, out, **changes):
    small = {"images": 4, "patches": 2, "schedule": Schedule(steps=1)}
    return EncoderTraining(photographs, out, cache=cache, **(small | changes))


@pytest.mark.parametrize("name", SWITCHES)
def test_an_element_can_be_switched(photographs, cache, tmp_path, name):
    unusual = not getattr(EncoderTraining, name)
    train_encoder(training(photographs, cache, tmp_path, **{name: unusual}))
    card = json.loads((tmp_path / "encoder.json").read_text())
    assert card["training"]["recipe"][name] is unusual
    _, heads, tags = load_exported_encoder(tmp_path)
    assert [tag.name for tag in tags] == [tag for tag, _ in ORDER]
    assert heads.sizes == tuple(tag.size for tag in tags)
    with pytest.raises(ValueError, match="something else"):  # a checkpoint is of one recipe
        train_encoder(training(photographs, cache, tmp_path))


def test_what_the_switches_change_in_the_model(photographs, cache, tmp_path, few):
    def model(**changes):
        task = PretextTask(training(photographs, cache, tmp_path, **changes), CPU)
        return task, task.model(torch.from_numpy(task.batch(0)[0]))

    task, outputs = model()
    assert {name: output.shape[:2] for name, output in outputs.items()} == {"tokens": (4, 2), "patches": (4, 2)}
    make = next(tag for tag in task.tags if tag.name == "Make")
    assert len(make.classes) == 2
    assert model(every_token=False)[1]["tokens"].shape[:2] == (4, 1)
    assert list(model(patch_heads=False)[1]) == ["tokens"]
    assert isinstance(model(standardised=False)[0].model.heads, PlainHeads)
    assert not np.array_equal(task.weights, model(balanced=False)[0].weights) or len({*task.weights}) == 1
    start = task.model.heads.heads.heads[1].bias
    drawn = np.bincount(task.labels[task.fit][:, 1].astype(int), task.weights)
    torch.testing.assert_close(start.exp(), torch.from_numpy(drawn).float())
    assert not torch.allclose(model(frequencies=False)[0].model.heads.heads.heads[1].bias, start)


def test_extra_tags_are_learned_but_not_from_degraded_crops(photographs, cache, tmp_path, few):
    def targets(degraded):
        task = PretextTask(training(photographs, cache, tmp_path, extra_tags=True, degraded=degraded), CPU)
        assert [tag.name for tag in task.tags] == [name for name, _ in ORDER] + list(EXTRA)
        assert task.tags[-1].classes == ("4:2:0",)
        return task.batch(0)[1]

    assert np.isfinite(targets(0.0)[:, 14:]).all()
    degraded = targets(1.0)
    assert np.isnan(degraded[:, 14:]).all()
    assert np.isfinite(degraded[:, 1]).all()  # the camera is what it was


def test_only_the_first_heads_are_exported():
    heads = ExifHeads([1, 2, 3])
    features = torch.randn(4, 528)
    torch.testing.assert_close(first_heads(heads, 2)(features), heads(features)[:, :3])


def test_a_head_starts_at_the_frequencies():
    heads = PlainHeads([1, 3])
    untouched = heads.heads.heads[0].bias.clone()
    start_at(heads, [None, torch.tensor([0.5, 0.5, 0.0])])
    assert torch.equal(heads.heads.heads[0].bias, untouched)
    torch.testing.assert_close(heads.heads.heads[1].bias.softmax(0), torch.tensor([0.5, 0.5, 1e-4]), atol=1e-3, rtol=0)


def test_the_learning_rate_may_stay_constant():
    budget = Budget(Schedule(steps=10, learning_rate=1e-4, one_cycle=False))
    cycle = Budget(Schedule(steps=10, learning_rate=1e-4))
    rates = set()
    for _ in range(10):
        rates.add(budget.learning_rate)
        budget.tick()
        cycle.tick()
    assert rates == {1e-4}
    assert cycle.learning_rate == pytest.approx(1e-7)


def test_without_a_moving_average_the_last_weights_count(photographs, cache, tmp_path):
    train_encoder(training(photographs, cache, tmp_path, schedule=Schedule(steps=3, average=0.0)))
    state = torch.load(tmp_path / "encoder.pt", weights_only=True)
    for name, value in state["model"].items():
        if value.is_floating_point():
            torch.testing.assert_close(state["average"][name], value, msg=name)


def test_curves_go_to_tensorboard(photographs, cache, tmp_path):
    train_encoder(training(photographs, cache, tmp_path, images=2, patches=1, schedule=Schedule(steps=20)))
    events = EventAccumulator(str(tmp_path / "tensorboard" / "encoder"))
    events.Reload()
    names = events.Tags()["scalars"]
    assert {"loss/tokens", "loss/patches", "loss/sum", "training/learning_rate", "training/patches_per_second"} <= {
        *names
    }
    assert "held_out/FNumber/accuracy" in names
    (point,) = events.Scalars("loss/sum")
    logged = json.loads((tmp_path / "encoder.jsonl").read_text().splitlines()[0])
    assert point.step == logged["steps"] == 20
    assert point.value == pytest.approx(logged["tokens"] + logged["patches"])


def test_without_tensorboard_it_trains(photographs, cache, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not installed
    train_encoder(training(photographs, cache, tmp_path))
    assert (tmp_path / "encoder.safetensors").exists()
    assert not (tmp_path / "tensorboard").exists()


@pytest.fixture
def small(photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "MIN_JUDGED", 1)
    return Ablation(photographs, tmp_path, passes=8, seeds=2, images=2, patches=2, rows=("recipe", "constant-rate"))


def test_each_row_changes_one_thing(small):
    usual = small.training("recipe", 0)
    assert usual.schedule.steps == 2
    for row, (_, changes) in ROWS.items():
        run = small.training(row, 0)
        changed = {name for name in usual.__dataclass_fields__ if getattr(run, name) != getattr(usual, name)}
        assert changed - {"out", "schedule"} == {name for name in changes if not hasattr(usual.schedule, name)}
        assert run.schedule.steps == 2
        for name, value in changes.items():
            assert getattr(run if hasattr(run, name) else run.schedule, name) == value


def test_the_ablation_runs_once_and_makes_a_table(small, monkeypatch):
    table = run_ablation(small).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in table[2:]] == [
        "always the same answer",
        "the recipe",
        "constant learning rate 1e-4 (paper)",
    ]
    assert len({line.count("|") for line in table}) == 1
    assert len(list(small.out.glob("*seed*.json"))) == 2 * 2 + 1
    assert not list(small.out.glob("*/encoder.pt"))

    monkeypatch.setattr(ablation, "fit", lambda *_: pytest.fail("finished runs are not run again"))
    assert run_ablation(small).splitlines() == table
    lost = next(small.out.glob("constant-rate-*seed1.json"))
    lost.unlink()
    with pytest.raises(pytest.fail.Exception):
        run_ablation(small)


def test_the_table_compares_runs_of_one_seed(small):
    for seed, (usual, other) in enumerate(((12.0, 13.0), (14.0, 16.0))):
        for row, loss in (("recipe", usual), ("constant-rate", other), (CONSTANT, 15.0)):
            figures = {"loss": loss, "rank_accuracy": 0.5, "class_gain": 0.0, "patches_per_second": 20.0}
            (small.out / f"{row}-8x2x2-seed{seed}.json").write_text(json.dumps(figures))
    last = markdown(small).splitlines()[-1]
    assert "14.500 ± 1.500 | -1.500 ± 0.500 |" in last
    next(small.out.glob("constant-rate-*seed0.json")).unlink()
    last = markdown(small).splitlines()[-1]
    assert "(seeds: 1) | 16.000 | -2.000 |" in last  # against the recipe of its own seed


def test_a_tag_that_few_photographs_have_does_not_count(photographs, cache, tmp_path, few, monkeypatch):
    task = ablation._MeasuredTask(training(photographs, cache, tmp_path), CPU)
    monkeypatch.setattr(ablation, "MIN_JUDGED", len(task.judged))
    all_known = task.constant_figures()
    task.labels[task.judged[0], 1] = np.nan  # one photograph without Make
    figures = task.constant_figures()
    assert set(all_known["losses"]) - set(figures["losses"]) == {"Make"}
    assert figures["loss"] == pytest.approx(all_known["loss"] - all_known["losses"]["Make"])


def test_always_the_same_answer_is_how_often_a_class_is_drawn(photographs, cache, tmp_path, few, monkeypatch):
    monkeypatch.setattr(ablation, "MIN_JUDGED", 1)
    task = ablation._MeasuredTask(training(photographs, cache, tmp_path), CPU)
    losses = task.constant_figures()["losses"]
    drawn = np.bincount(task.labels[task.fit][:, 1].astype(int), task.weights)
    seen = task.labels[task.judged][:, 1].astype(int)
    assert losses["Make"] == pytest.approx(-np.log(drawn[seen]).mean(), rel=1e-4)
    assert losses["FNumber"] == pytest.approx(np.log(2), rel=1e-4)


def test_a_folder_with_nothing_held_out_can_not_be_judged(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.jpg").write_bytes(camera_jpeg(seed=1))
    with pytest.raises(ValueError, match="held out"):
        run_ablation(Ablation(tmp_path / "data", tmp_path / "out", passes=8, images=2, patches=2))


def test_a_model_has_only_the_heads_it_needs(photographs, tmp_path):
    bare = PretextModel((), EncoderTraining(photographs, tmp_path, patch_heads=False))
    assert not [name for name in bare.state_dict() if name.startswith("patch_heads")]
