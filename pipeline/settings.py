"""Every setting, typed, with its unit. The only reader of the environment.

Set one with `LENSWATCH_<GROUP>__<NAME>`, for example `LENSWATCH_POSTGRES__DSN`; a `.env` file in the working folder
is read too. The defaults are those of a deployment with its servers on `localhost`.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, Field, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]
TrunkKind = Literal["auto", "kernel", "eager", "half"]

DEFAULT_RELEASE = Path(__file__).parent / "weights" / "sdaie-small-2"


class PostgresSettings(BaseModel):
    dsn: SecretStr = SecretStr("postgresql+psycopg://lenswatch@localhost:5432/lenswatch")
    """SQLAlchemy URL; TLS by `?sslmode=verify-full`."""
    connect_timeout: Seconds = 5
    statement_timeout: Seconds = 30
    pool_size: PositiveInt = 5


class RedisSettings(BaseModel):
    url: SecretStr = SecretStr("redis://localhost:6379/0")
    """`rediss://` for TLS."""
    socket_timeout: Seconds = 10
    """Longer than the consumer's blocking read."""
    stream_prefix: str = "lenswatch:uploads:"
    """One stream per lane: `lenswatch:uploads:live`, ..."""
    stream_max_length: PositiveInt = 100_000
    """Entries not yet taken over by the ledger; above it the doors answer 503."""


class S3Settings(BaseModel):
    endpoint_url: str | None = None
    """None for AWS."""
    region: str = "us-east-1"
    access_key_id: SecretStr | None = None
    """None for boto3's own chain (instance role, ...)."""
    secret_access_key: SecretStr | None = None
    connect_timeout: Seconds = 3
    read_timeout: Seconds = 15
    buckets: tuple[str, ...] = ("uploads",)
    """The only buckets an event may name."""
    model_bucket: str = "lenswatch-models"


class TritonSettings(BaseModel):
    url: str = "localhost:8001"
    """gRPC address, host:port."""
    timeout: Seconds = 20
    """Deadline of one inference, carried to the server."""
    tls: bool = False
    model_repository: Path = Path("/models")
    """The folder that Triton serves and `lenswatch models publish` writes."""


class LimitSettings(BaseModel):
    max_bytes: ByteSize = ByteSize(50 * 2**20)
    max_pixels: PositiveInt = 50_000_000
    """Declared pixels of an image, checked before it is decoded; far under Pillow's own limit."""
    patch_budget: PositiveInt = 64
    """Patches looked at in one image; cost per image is linear in it."""
    exiftool_timeout: Seconds = 5


class DetectorSettings(BaseModel):
    release: Path = DEFAULT_RELEASE
    """Release folder that `lenswatch score` uses and that `lenswatch up` publishes first."""
    trunk: TrunkKind = "auto"
    """What computes the networks' per-patch part, in Triton's models too: pipeline/encoder/fast.py."""


class PolicySettings(BaseModel):
    not_camera_fpr: Rate = 0.02
    unsure_fpr: Rate = 0.10


class WebSettings(BaseModel):
    host: str = "127.0.0.1"
    port: int = 8080
    api_keys: tuple[SecretStr, ...] = ()
    """Bearer keys of the doors and of the review API. Empty: every call is refused."""
    webhooks: dict[str, str] = {}
    """Name -> URL of the endpoints that an event's `callback` may name."""
    webhook_secret: SecretStr | None = None
    """Signs outgoing webhooks (HMAC-SHA256). None: no webhook is sent."""
    webhook_timeout: Seconds = 10


class WorkerSettings(BaseModel):
    max_attempts: PositiveInt = 3
    """Attempts on one upload, counted before its bytes are decoded; then it is a dead letter."""
    retry_delay: timedelta = timedelta(seconds=10)
    """Doubled at each attempt."""
    stale_after: timedelta = timedelta(minutes=5)
    """A row that stays queued or scoring so long is sent again; longer than the task's time limit."""
    task_time_limit: Seconds = 120
    consumer_block: Seconds = 2
    consumer_batch: PositiveInt = 100
    reclaim_idle: timedelta = timedelta(seconds=60)
    """A stream entry pending at a silent consumer for so long is taken over."""
    metrics_port: int | None = None


class RetrainSettings(BaseModel):
    min_photos: PositiveInt = 200
    """Verified photographs below which the nightly job leaves the champion alone."""
    max_photos: PositiveInt = 10_000
    calibration_share: Rate = 0.4
    """Share of camera models whose photographs calibrate; never fitted on."""
    held_out_share: Rate = 0.2
    """Share of camera models whose photographs only judge, neither fitted nor calibrated on."""
    reviewers_needed: PositiveInt = 2
    """Reviewers who must agree on `camera` before a photograph is fitted on."""
    trusted_surfaces: tuple[str, ...] = ()
    """Surfaces whose uploads count as photographs without review (an own camera app, ...)."""
    max_per_uploader: PositiveInt = 30
    auto_promote: bool = True
    """Promote a challenger that passed the gate; otherwise a person does it."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="LENSWATCH_", env_nested_delimiter="__", env_file=".env", extra="ignore", frozen=True
    )

    postgres: PostgresSettings = PostgresSettings()
    redis: RedisSettings = RedisSettings()
    s3: S3Settings = S3Settings()
    triton: TritonSettings = TritonSettings()
    limits: LimitSettings = LimitSettings()
    detector: DetectorSettings = DetectorSettings()
    policy: PolicySettings = PolicySettings()
    surfaces: dict[str, PolicySettings] = {}
    """Surface -> its own policy; others take `policy`."""
    web: WebSettings = WebSettings()
    worker: WorkerSettings = WorkerSettings()
    retrain: RetrainSettings = RetrainSettings()
    log_json: bool = True
    log_level: str = "INFO"

    @cached_property
    def celery_broker(self) -> str:
        """Celery shares the Redis of the streams; its keys do not collide with theirs."""
        return self.redis.url.get_secret_value()
