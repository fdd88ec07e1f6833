"""The job that looks after the champion's networks in Triton, without a Triton; with one: `chaos/faults.py`."""

from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from pipeline.adapters.triton import BINARY, ENCODER
from pipeline.errors import DetectorConfused, DetectorUnavailable, NotFound
from pipeline.records import ModelVersion
from tests.servers import settings_for
from workers.app import create_app
from workers.stream import connect


class Registry:
    champion: ModelVersion | None = ModelVersion(1, "any", 3, 4, "")

    def resolve(self, alias: str) -> ModelVersion:
        assert alias == "champion"
        if self.champion is None:
            raise NotFound(alias)
        return self.champion


class Watch:
    """Answers for each network in turn: True (it had died), False, or an error."""

    def __init__(self, *answers) -> None:
        self.answers, self.asked = list(answers), []

    def revive(self, network: str, version: int) -> bool:
        self.asked.append((network, version))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def deps(redis_url):
    settings = settings_for(LENSWATCH_REDIS__URL=redis_url)
    with connect(settings.redis) as client:
        yield SimpleNamespace(settings=settings, redis=client, registry=Registry())


def look_after(deps, *answers) -> tuple[list[tuple[str, int]], list[str]]:
    """The networks that were asked about, and the events that were logged."""
    deps.triton_watch = Watch(*answers)
    app = create_app(deps.settings)
    app.loader.import_default_modules()
    app.dependencies = deps
    with capture_logs() as lines:
        app.tasks["revive_networks"]()
    return deps.triton_watch.asked, [line["event"] for line in lines]


def test_both_networks_of_the_champion_are_asked(deps):
    assert look_after(deps, False, False) == ([(ENCODER, 3), (BINARY, 4)], [])


def test_what_was_revived_is_said(deps):
    assert look_after(deps, True, False)[1] == ["network_revived"]


@pytest.mark.parametrize("error", [DetectorUnavailable("away"), DetectorConfused("not finite")])
def test_a_triton_without_an_answer_is_asked_again_later(deps, error):
    assert look_after(deps, error) == ([(ENCODER, 3)], ["network_silent"])
    assert look_after(deps, False, False)[1] == []  # the lock is free


def test_nothing_is_asked_before_anything_is_published(deps):
    deps.registry.champion = None
    assert look_after(deps) == ([], [])


def test_one_looks_after_them_at_a_time(deps):
    with deps.redis.lock("revive_networks", timeout=60):
        assert look_after(deps) == ([], [])


def test_it_can_be_switched_off(deps):
    deps.settings.triton.revive = False
    assert look_after(deps) == ([], [])
