"""The ports `UploadStore` and `ResultStore`: the same tests for the fakes and for Postgres."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from pipeline.errors import NotFound
from pipeline.ports import ResultStore, UploadStore
from pipeline.records import ModelVersion, UploadState
from tests.factories import add_model, make_event, make_examination, make_verdict
from tests.fakes import MODEL, FakeResultStore, FakeUploadStore


@dataclass
class Ports:
    uploads: UploadStore
    results: ResultStore
    model: ModelVersion
    other: ModelVersion


@pytest.fixture(params=["fake", "postgres"])
def ports(request):
    if request.param == "fake":
        uploads = FakeUploadStore()
        yield Ports(uploads, FakeResultStore(uploads=uploads), MODEL, replace(MODEL, id=2, name="fake-2"))
        return
    with request.getfixturevalue("stores").transaction() as tx:
        yield Ports(tx.uploads, tx.results, add_model(tx), add_model(tx))


@pytest.fixture
def upload(ports):
    return ports.uploads.record(make_event())[0]


def test_an_event_is_recorded_once(ports):
    event = make_event()
    first, is_new = ports.uploads.record(event)
    again, is_new_again = ports.uploads.record(event.model_copy(update={"event_id": "said-again"}))
    assert (first, is_new) == (again, True)
    assert not is_new_again
    assert (first.event, first.state, first.attempts) == (event, UploadState.QUEUED, 0)


def test_an_attempt_is_counted(ports, upload):
    begun = ports.uploads.begin_attempt(upload.id)
    assert (begun.state, begun.attempts) == (UploadState.SCORING, 1)


def test_an_unknown_upload(ports):
    with pytest.raises(NotFound):
        ports.uploads.begin_attempt(4711)


@pytest.mark.parametrize("state", [UploadState.DONE, UploadState.DEAD])
def test_a_finished_upload_is_not_attempted_again(ports, upload, state):
    ports.uploads.begin_attempt(upload.id)
    ports.uploads.finish(upload.id, state)
    again = ports.uploads.begin_attempt(upload.id)
    assert (again.state, again.attempts) == (state, 1)


@pytest.mark.parametrize(("verb", "attempts", "postponements"), [("retry", 1, 0), ("postpone", 0, 1)])
def test_an_upload_that_waits_is_queued_and_only_a_postponement_counts_no_attempt(
    ports, upload, verb, attempts, postponements
):
    ports.uploads.begin_attempt(upload.id)
    getattr(ports.uploads, verb)(upload.id, not_before=datetime(2040, 1, 1, tzinfo=UTC), error="full")
    again, _ = ports.uploads.record(upload.event)
    assert (again.state, again.attempts, again.postponements) == (UploadState.QUEUED, attempts, postponements)


def test_an_examination_is_found_under_its_version_only(ports):
    examination = make_examination()
    ports.results.save_examination(examination, ports.model)
    found = ports.results.find_examination(examination.sha256, ports.model)
    assert found == replace(examination, embedding=None, self_description=None, patch_count=None, timings_ms={})
    assert ports.results.find_examination(examination.sha256, ports.other) is None
    assert ports.results.find_examination("0" * 64, ports.model) is None


def test_a_repeated_verdict_is_one_verdict(ports, upload):
    examination = make_examination()
    ports.results.save_examination(examination, ports.model)
    ports.results.save_examination(examination, ports.other)
    first, again, other = (
        ports.results.save_verdict(upload, examination, make_verdict(), model)
        for model in (ports.model, ports.model, ports.other)
    )
    assert first == again != other


def test_a_buried_upload_is_dead(ports, upload):
    ports.results.bury(upload.id, stage="moderate", reason="StoreUnavailable", detail="away")
    assert ports.uploads.record(upload.event)[0].state is UploadState.DEAD
