"""The composition root: Settings -> Dependencies. The one place where protocols meet their implementations.

Build one `Dependencies` per process, after any fork: gRPC channels, database pools and a stay-open ExifTool do not
survive one. Each part is imported and built when it is first asked for, so a process pays only for what it uses.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Self

from pipeline.settings import Settings
from workers import stream

if TYPE_CHECKING:
    import redis

    from pipeline.adapters.registry import Registry
    from pipeline.adapters.triton import TritonClient
    from pipeline.derived import PictureDeps
    from pipeline.erase import ErasureDeps
    from pipeline.examine import Examiner
    from pipeline.moderate import ModerationDeps
    from pipeline.ports import ObjectStore
    from pipeline.records import Upload
    from pipeline.store import Stores, Transaction
    from workers.app import LenswatchApp
    from workers.openid import OpenIdProvider

WATCH_TIMEOUT = 5.0
"""s; loading may take ten times as long."""


class SystemClock:
    """Implements `ports.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Dependencies:
    """Everything a process talks to. A context manager: leaving it closes what was opened, last first."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    def open(self, *, for_moderation: bool) -> None:
        """Build now what tasks need, so that the first one does not wait for imports."""
        _ = self.stores
        if for_moderation:
            _ = self.objects, self.registry, self.examiner

    @cached_property
    def redis(self) -> redis.Redis:
        """Of the streams; Celery has connections of its own."""
        client = stream.connect(self.settings.redis)
        self._opened.callback(client.close)
        return client

    @cached_property
    def stores(self) -> Stores:
        from pipeline.store import Stores

        stores = Stores(self.settings.postgres)
        self._opened.callback(stores.close)
        return stores

    @cached_property
    def objects(self) -> ObjectStore:
        from pipeline.adapters.s3 import S3ObjectStore

        return S3ObjectStore(self.settings.s3)

    @cached_property
    def triton(self) -> TritonClient:
        from pipeline.adapters.triton import TritonClient

        client = TritonClient(self.settings.triton)
        self._opened.callback(client.close)
        return client

    @cached_property
    def triton_watch(self) -> TritonClient:
        """For asking whether networks live: not as patient as with an image, and ahead of those that can wait."""
        from pipeline.adapters.triton import TritonClient

        hasty = {"timeout": min(self.settings.triton.timeout, WATCH_TIMEOUT), "priority": 1}
        client = TritonClient(self.settings.triton.model_copy(update=hasty))
        self._opened.callback(client.close)
        return client

    @cached_property
    def examiner(self) -> Examiner:
        from pipeline.adapters.exiftool import ExifToolReader
        from pipeline.adapters.triton import TritonDetector
        from pipeline.examine import Examiner

        reader = ExifToolReader(timeout=self.settings.limits.exiftool_timeout)
        self._opened.callback(reader.close)
        return Examiner(reader, TritonDetector(self.triton), self.settings.limits)

    @cached_property
    def registry(self) -> Registry:
        from pipeline.adapters.registry import Registry

        return Registry(self.stores, self.objects, self.settings)

    @cached_property
    def openid(self) -> OpenIdProvider:
        from workers.openid import OpenIdProvider

        provider = OpenIdProvider(self.settings.sign_in)
        self._opened.callback(provider.close)
        return provider

    def send_moderation(self, upload: Upload) -> None:
        """Put the upload's task on its lane's queue, after its row was committed. Raises StreamUnavailable."""
        from workers.app import send_moderation

        send_moderation(self.celery, upload)

    @cached_property
    def celery(self) -> LenswatchApp:
        from workers.app import create_app

        app = create_app(self.settings)
        self._opened.callback(app.close)
        return app

    @cached_property
    def erasure(self) -> ErasureDeps:
        from pipeline.erase import ErasureDeps
        from workers.waiting_events import StreamedEvents

        return ErasureDeps(
            transaction=self.stores.transaction,
            events=StreamedEvents(self.redis, self.settings),
            objects=self.objects,
            model_bucket=self.settings.s3.model_bucket,
            registry=self.registry,
        )

    @cached_property
    def pictures(self) -> PictureDeps:
        from pipeline.derived import PictureDeps

        return PictureDeps(
            transaction=self.stores.transaction,
            objects=self.objects,
            model_bucket=self.settings.s3.model_bucket,
            limits=self.settings.limits,
        )

    def moderation(self, transaction: Transaction) -> ModerationDeps:
        """What `moderate` needs, its stores in this transaction."""
        from pipeline.moderate import ModerationDeps
        from workers.observed import ObservedResults

        return ModerationDeps(
            uploads=transaction.uploads,
            results=ObservedResults(transaction.results, transaction.policies, self.settings),
            policies=transaction.policies,
            objects=self.objects,
            registry=self.registry,
            examiner=self.examiner,
            settings=self.settings,
        )
