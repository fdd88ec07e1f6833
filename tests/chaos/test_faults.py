"""A short set of `make chaos`: four faults under a small load."""

from __future__ import annotations

import os

import pytest

from tests.chaos.cluster import running
from tests.chaos.run import run, warm_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COUNT, RATE = 60, 20


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LENSWATCH_")]:
            patch.delenv(name)
        patch.setattr(os, "environ", os.environ.copy())  # the cluster's settings are its own
        with running() as cluster:
            warm_up(cluster)
            yield cluster


@pytest.mark.parametrize(
    "fault",
    [
        "worker killed while it waits for Triton",
        "a network's process killed in Triton",
        "consumer killed",
        "Redis restarted",
    ],
)
def test_every_acknowledged_event_ends_in_one_answer(cluster, fault):
    row = run(cluster, fault, count=COUNT, rate=RATE, seed=1)
    assert row.kept, row
    assert row.outcome.verdicts == row.acknowledged  # a fault that passes costs nobody a verdict
