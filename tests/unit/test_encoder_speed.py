"""`lenswatch bench --model`: figures that add up, and a served path that computes what the network computes."""

import json

import pytest

from pipeline.encoder import kernel, speed
from pipeline.encoder.speed import direct_flop, measure_speed
from pipeline.settings import DEFAULT_RELEASE
from workers.cli import bench_model


def test_operations_of_the_direct_form():
    # 7x7 stem 3 -> 32 at 64 px, then 3x3 convolutions 32 -> 32: four at 64 px, two each at 32, 16 and 8
    assert direct_flop() == 2 * (64 * 64 * 32 * 147 + (4 * 4096 + 2 * 1024 + 2 * 256 + 2 * 64) * 32 * 32 * 9)


@pytest.fixture(scope="module")
def measured():
    return measure_speed(DEFAULT_RELEASE, patches=2, rounds=1)


def test_every_form_computes_the_same(measured):
    assert {"plain", "served"} < set(measured.patches_per_second)
    assert kernel.available() == ("kernel" in measured.patches_per_second)
    assert max(measured.feature_error.values()) < 1e-2


def test_ratios_are_of_the_rates(measured):
    rates = measured.patches_per_second
    assert measured.served_over_plain == pytest.approx(rates["served"] / rates["plain"])
    assert measured.served_over_matmul == pytest.approx(
        rates["served"] * direct_flop() / 1e9 / measured.matmul_gflops["float32"]
    )


def test_the_command_prints_one_json_object(measured, monkeypatch, capsys):
    monkeypatch.setattr(speed, "measure_speed", lambda *_, **__: measured)
    bench_model.bench_model(1, 1, json_output=True)
    assert json.loads(capsys.readouterr().out)["served_over_plain"] == measured.served_over_plain
    bench_model.bench_model(1, 1, json_output=False)
    assert "times plain" in capsys.readouterr().out.replace("\n", " ")
