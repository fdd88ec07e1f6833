"""Which events a stream may hold, and which of Redis' errors pass. Its room and rates: `integration/test_stream.py`."""

from datetime import UTC, datetime

import pytest
import redis

from pipeline.errors import InvalidEvent
from pipeline.events import dump_event
from pipeline.records import UploadEvent
from pipeline.settings import RedisSettings, Settings
from workers.stream import BucketNotAllowed, StreamUnavailable, read_event, translate, translated

SETTINGS = Settings(_env_file=None)
EVENT = UploadEvent(event_id="e1", bucket="uploads", key="a b.jpg", uploaded_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"bucket": "somebody-elses"}, BucketNotAllowed),
        ({"key": "nul\0byte"}, InvalidEvent),
    ],
)
def test_what_nobody_could_moderate_is_refused(change, error):
    assert read_event(dump_event(EVENT), SETTINGS) == EVENT
    with pytest.raises(error):
        read_event(dump_event(EVENT.model_copy(update=change)), SETTINGS)


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("refused"),
        redis.TimeoutError("slow"),
        redis.exceptions.BusyLoadingError("loading"),
        redis.exceptions.OutOfMemoryError("OOM"),
        redis.exceptions.ReadOnlyError("replica"),
        redis.ResponseError("NOGROUP No such key"),
        redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_pass_are_ours(error):
    with pytest.raises(StreamUnavailable), translated():
        raise error


def test_a_connection_that_broke_beneath_redis_py_is_one_too():
    broken = RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
    assert isinstance(translate(broken), StreamUnavailable)
    assert isinstance(translate(ConnectionResetError()), StreamUnavailable)
    mistake = RuntimeError("dictionary changed size during iteration")
    assert translate(mistake) is mistake


def test_a_wrong_request_stays_what_it_is():
    with pytest.raises(redis.ResponseError), translated():
        raise redis.ResponseError("WRONGTYPE")


def test_the_address_says_how_to_check_the_certificate():
    plain = RedisSettings(url="redis://:secret@redis:6379/0")
    assert plain.address == "redis://:secret@redis:6379/0"
    public = RedisSettings(url="rediss://redis/0")
    assert public.address == "rediss://redis/0?ssl_cert_reqs=required&ssl_check_hostname=true"
    private = RedisSettings(url="rediss://redis/0?x=1", tls_ca="/etc/ca.pem")
    assert private.address.endswith("?x=1&ssl_cert_reqs=required&ssl_check_hostname=true&ssl_ca_certs=%2Fetc%2Fca.pem")
