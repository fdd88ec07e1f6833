"""TLS to every server, against a throw-away CA: the right one lets us in, another one is refused and says so.

Before each real server stands a terminator, as a deployment's stunnel or Envoy would: the servers from wheels are built
without TLS.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from kombu.exceptions import OperationalError

from pipeline.adapters.s3 import S3ObjectStore
from pipeline.adapters.triton import TritonClient
from pipeline.errors import DetectorUnavailable, ObjectStoreUnavailable, StoreUnavailable
from pipeline.store import Stores
from tests.factories import make_event
from tests.servers import settings_for
from workers.app import create_app
from workers.door import Door
from workers.lanes import queue_name
from workers.local.processes import LOOPBACK
from workers.stream import StreamUnavailable, connect, submit

SSL_REQUEST = bytes.fromhex("0000000804d2162f")


@dataclass(frozen=True)
class Certificates:
    ca: Path
    """PEM of the CA that signed `server`."""
    stranger: Path
    """PEM of a CA that signed nothing."""
    chain: Path
    key: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    ours, server = trustme.CA(), Certificates(*(folder / name for name in ("ca", "stranger", "chain", "key")))
    issued = ours.issue_cert(LOOPBACK)
    ours.cert_pem.write_to_path(str(server.ca))
    trustme.CA().cert_pem.write_to_path(str(server.stranger))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(server.chain), append=True)
    issued.private_key_pem.write_to_path(str(server.key))
    return server


@pytest.fixture(scope="module")
def terminated(certificates):
    """Plain port -> a port that speaks TLS for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.chain, certificates.key)
    context.set_alpn_protocols(["h2"])  # gRPC insists
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def terminate(port: int, starts_plain: bool) -> int:
        async def serve(reader, writer):
            if starts_plain:  # libpq asks first: https://www.postgresql.org/docs/current/protocol-flow.html
                assert await reader.readexactly(8) == SSL_REQUEST
                writer.write(b"S")
                await writer.start_tls(context)
            plain_reader, plain_writer = await asyncio.open_connection(LOOPBACK, port)
            await asyncio.gather(copy(reader, plain_writer), copy(plain_reader, writer))

        server = await asyncio.start_server(serve, LOOPBACK, 0, ssl=None if starts_plain else context)
        return server.sockets[0].getsockname()[1]

    async def copy(reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def run(port: int, starts_plain: bool = False) -> int:
        return asyncio.run_coroutine_threadsafe(terminate(port, starts_plain), loop).result(10)

    yield run
    loop.call_soon_threadsafe(loop.stop)


@pytest.fixture(scope="module")
def redis_settings(redis_server, terminated):
    port = terminated(urlsplit(redis_server.url).port)
    url = redis_server.url.replace("redis://", "rediss://").replace(str(urlsplit(redis_server.url).port), str(port))
    return lambda ca: settings_for(LENSWATCH_REDIS__URL=url, LENSWATCH_REDIS__TLS_CA=str(ca))


def test_streams_and_celery_over_tls(redis_settings, redis_url, certificates):
    settings = redis_settings(certificates.ca)

    async def from_web():
        async with Door(settings) as door:
            return await door.submit([make_event()], door="test", key="k")

    with connect(settings.redis) as client:
        submit(client, settings, make_event(), door="test")
        asyncio.run(from_web())
        assert client.xlen("lenswatch:uploads:live") == 2
        create_app(settings).send_task("moderate", args=[1], queue=queue_name("live"))
        assert client.llen(queue_name("live")) == 1


def test_redis_with_a_strangers_certificate_is_refused(redis_settings, redis_url, certificates):
    settings = redis_settings(certificates.stranger)
    with connect(settings.redis) as client, pytest.raises(StreamUnavailable, match="certificate verify failed"):
        submit(client, settings, make_event(), door="test")

    async def from_web():
        async with Door(settings) as door:
            await door.submit([make_event()], door="test", key="k")

    with pytest.raises(StreamUnavailable, match="certificate verify failed"):
        asyncio.run(from_web())
    app = create_app(settings)
    with pytest.raises(OperationalError, match="certificate verify failed"):
        app.connection_for_write().ensure_connection(max_retries=1)


def test_a_certificate_of_another_name_is_refused(redis_settings, redis_url, certificates):
    settings = redis_settings(certificates.ca)
    url = settings.redis.url.get_secret_value().replace(LOOPBACK, "localhost")
    elsewhere = settings_for(LENSWATCH_REDIS__URL=url, LENSWATCH_REDIS__TLS_CA=str(certificates.ca))
    with connect(elsewhere.redis) as client, pytest.raises(StreamUnavailable, match="certificate verify failed"):
        submit(client, elsewhere, make_event(), door="test")


@pytest.fixture
def postgres_over_tls(fresh_dsn, terminated):
    plain = str(urlsplit(fresh_dsn).port)
    dsn = fresh_dsn.replace(plain, str(terminated(int(plain), starts_plain=True)))
    return lambda ca: settings_for(LENSWATCH_POSTGRES__DSN=f"{dsn}?sslmode=verify-full&sslrootcert={ca}")


def test_postgres_over_tls(postgres_over_tls, certificates):
    stores = Stores(postgres_over_tls(certificates.ca).postgres)
    assert stores.ping()
    with stores._engine.connect() as connection:
        assert connection.connection.driver_connection.pgconn.ssl_in_use
    stores.close()


def test_postgres_with_a_strangers_certificate_is_refused(postgres_over_tls, certificates):
    stores = Stores(postgres_over_tls(certificates.stranger).postgres)
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        stores.ping()
    stores.close()


@pytest.fixture
def s3_over_tls(s3_server, terminated):
    port = terminated(urlsplit(s3_server.url).port)
    address = {"LENSWATCH_S3__ENDPOINT_URL": f"https://{LOOPBACK}:{port}"}
    return lambda ca: settings_for(s3_server, **address, LENSWATCH_S3__TLS_CA=str(ca))


def test_s3_over_tls(s3_over_tls, certificates):
    store = S3ObjectStore(s3_over_tls(certificates.ca).s3)
    store.ensure_bucket("over-tls")
    store.put("over-tls", "key", b"content")
    assert store.get("over-tls", "key", max_bytes=100) == b"content"


def test_s3_with_a_strangers_certificate_is_refused(s3_over_tls, certificates):
    store = S3ObjectStore(s3_over_tls(certificates.stranger).s3)
    with pytest.raises(ObjectStoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        store.ensure_bucket("over-tls")


@pytest.mark.slow
def test_triton_over_tls(triton_server, terminated, certificates):
    plain = settings_for(triton_server).triton
    port = terminated(int(plain.url.rpartition(":")[2]))

    def said(ca):
        client = TritonClient(plain.model_copy(update={"url": f"{LOOPBACK}:{port}", "tls": True, "tls_ca": ca}))
        with pytest.raises(DetectorUnavailable) as refused:
            client.load("no such model")
        client.close()
        return str(refused.value)

    assert "failed to load 'no such model'" in said(certificates.ca)
    assert "failed to connect" in said(certificates.stranger)
