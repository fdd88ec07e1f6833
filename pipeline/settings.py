"""Every setting, typed, with its unit. The only reader of the environment.

Set one with `LENSWATCH_<GROUP>__<NAME>`, for example `LENSWATCH_POSTGRES__DSN`; a `.env` file in the working folder
is read too. The defaults are those of a deployment with its servers on `localhost`.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlencode

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    Field,
    HttpUrl,
    NonNegativeFloat,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.people import KeyRole, Role

Seconds = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
KeySetting = Annotated[str, Field(pattern=rf"^(({'|'.join(KeyRole)}):)?sha256:[0-9a-f]{{64}}$")]
Secret = Annotated[SecretStr, Field(min_length=16)]
Age = Annotated[timedelta | None, BeforeValidator(lambda said: None if said == "never" else said)]
"""How long something is kept; None, or `never` in the environment: it is never removed."""
TrunkKind = Literal["auto", "kernel", "eager", "half"]

DEFAULT_RELEASE = Path(__file__).parent / "weights" / "sdaie-small-12"


class PostgresSettings(BaseModel):
    dsn: SecretStr = SecretStr("postgresql+psycopg://lenswatch@localhost:5432/lenswatch")
    """SQLAlchemy URL; TLS by `?sslmode=verify-full&sslrootcert=/path/ca.pem` (or `system`, for the system's CAs)."""
    connect_timeout: Seconds = 5
    statement_timeout: Seconds = 30
    pool_size: PositiveInt = 5


class RedisSettings(BaseModel):
    url: SecretStr = SecretStr("redis://localhost:6379/0")
    """`rediss://` for TLS, always verified."""
    tls_ca: Path | None = None
    """PEM file of the CA that signed its certificate. None: the system's."""
    socket_timeout: Seconds = 10
    """Longer than the consumer's blocking read."""
    door_timeout: Seconds = 2
    """How long an HTTP door waits for Redis before it answers 503."""
    stream_prefix: str = "lenswatch:uploads:"
    """One stream per lane: `lenswatch:uploads:live`, ..."""
    stream_max_length: PositiveInt = 100_000
    """Most work waiting in a lane, as stream entries and as task messages together; then the doors answer 503."""

    @property
    def address(self) -> str:
        """`url`, with how to check its certificate in the words that redis-py and Celery's kombu share."""
        url = self.url.get_secret_value()
        if not url.startswith("rediss:"):
            return url
        checks = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}  # kombu checks nothing unless it is told
        if self.tls_ca is not None:
            checks["ssl_ca_certs"] = str(self.tls_ca)
        return f"{url}{'&' if '?' in url else '?'}{urlencode(checks)}"


class S3Settings(BaseModel):
    endpoint_url: str | None = None
    """None for AWS."""
    tls_ca: Path | None = None
    """PEM file of the CA that signed the endpoint's certificate. None: the public ones."""
    region: str = "us-east-1"
    access_key_id: SecretStr | None = None
    """None for boto3's own chain (instance role, ...)."""
    secret_access_key: SecretStr | None = None
    connect_timeout: Seconds = 3
    read_timeout: Seconds = 15
    download_timeout: Seconds = 60
    """Of one object, all of it; under the task's time limit: a slow store is an outage, not a lost worker."""
    buckets: tuple[str, ...] = ("uploads",)
    """The only buckets an event may name."""
    model_bucket: str = "lenswatch-models"


class TritonSettings(BaseModel):
    url: str = "localhost:8001"
    """gRPC address, host:port."""
    timeout: Seconds = 20
    """Deadline of one inference, carried to the server."""
    tls: bool = False
    tls_ca: Path | None = None
    """PEM file of the CA that signed its certificate. None: the public ones that gRPC brings."""
    priority: Literal[1, 2] = 1
    """Requests of 2 wait for those of 1. `lenswatch worker` takes 2 where it does not work on the live lane."""
    revive: bool = True
    """Load a network of the champion anew that died. Off where several Tritons stand behind one address."""
    model_repository: Path = Path("/models")
    """The folder that Triton serves and `lenswatch models publish` writes."""


class LimitSettings(BaseModel):
    max_bytes: ByteSize = ByteSize(50 * 2**20)
    max_pixels: PositiveInt = 50_000_000
    """Declared pixels of an image, checked before it is decoded; far under Pillow's own limit."""
    decode_memory: ByteSize = ByteSize(750 * 2**20)
    """Bytes that decoding one image may take on top of what its process holds; 50 megapixels of any format fit."""
    patch_budget: PositiveInt = Field(64, le=1000)
    """Patches looked at in one image; cost per image is linear in it. One below the other they have to fit a JPEG."""
    exiftool_timeout: Seconds = 5


class DetectorSettings(BaseModel):
    release: Path = DEFAULT_RELEASE
    """Release folder that `lenswatch score` uses and that `lenswatch up` publishes first."""
    trunk: TrunkKind = "auto"
    """What computes the networks' per-patch part, in Triton's models too: pipeline/encoder/fast.py."""


class PolicySettings(BaseModel):
    not_camera_fpr: Rate = 0.02
    unsure_fpr: Rate = 0.10
    decisions_needed: Annotated[int, Field(ge=1, le=3)] = 1
    """Of different reviewers, before an item is decided. With one, reviews end questions but train nothing by
    themselves, as long as retraining asks for two (`RetrainSettings.reviewers_needed`)."""


class WebSettings(BaseModel):
    host: str = "127.0.0.1"
    port: int = 8080
    workers: PositiveInt = 1
    """Processes that share the port."""
    max_requests: PositiveInt = 200
    """Worked on at a time by one process; above it the answer is 503, at once."""
    api_keys: dict[Name, KeySetting] = {}
    """Name -> `<role>:sha256:<hex>` of a bearer key for doors and API (`lenswatch keys new --role`); without a role it
    is a `sender`. Empty: every call is refused."""
    door_secrets: dict[Name, Secret] = {}
    """Name -> secret with which a sender signs its requests to the doors, instead of showing a key."""
    signature_window: Seconds = 300
    """Most difference between a signature's time and ours."""
    events_per_second: NonNegativeFloat = 2000
    """From one key, on the long run; above it the doors answer 429. 0: no limit."""
    events_burst: PositiveInt = 10_000
    """From one key, at once."""
    webhooks: dict[Name, HttpUrl] = {}
    """Name -> URL of the endpoints that an event's `callback` may name."""
    webhook_secrets: tuple[Secret, ...] = ()
    """Each signs every outgoing webhook (HMAC-SHA256): the new one and, while receivers change over, the old one.
    Empty: no webhook is sent."""
    webhook_timeout: Seconds = 10
    webhook_patience: timedelta = timedelta(days=3)
    """How long a webhook is tried again before it is abandoned."""


class ReviewSettings(BaseModel):
    lease: timedelta = timedelta(minutes=5)
    """How long an item stays with who took it; shown as a clock, and prolonged only by taking it again."""
    undo_window: timedelta = timedelta(minutes=10)
    """How long a reviewer may take back a decision."""
    sample_share: Share = 0.01
    """Of sure verdicts (`camera`, `not_camera`), reviewed to measure precision."""
    golden_share: Share = 0.05
    """Of the items that a reviewer is given, those whose answer is known."""
    near_copy_bits: PositiveInt = 31
    """PDQ hashes that differ in at most so many of 256 bits are near copies; the bound that PDQ's authors give."""


class SignInSettings(BaseModel):
    """How people sign in to the review desk."""

    secure_cookies: bool = True
    """False only where the desk is served without TLS, on a loopback address."""
    session_lifetime: timedelta = timedelta(hours=12)
    """From signing in; then again."""
    session_idle: timedelta = timedelta(hours=2)
    """Without a request."""
    local_accounts: bool = True
    """Sign in with a password that this deployment keeps (argon2id)."""
    oidc_issuer: Annotated[HttpUrl | None, BeforeValidator(lambda said: said or None)] = None
    """OpenID Connect provider; its `/.well-known/openid-configuration` says the rest. None: no such sign-in."""
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr | None = None
    """None: a public client, with PKCE alone."""
    oidc_scopes: str = "openid profile email"
    """Asked for; many providers want `groups` besides before they name a person's groups."""
    oidc_role_claim: str = "groups"
    """Claim of the ID token that names a person's groups."""
    oidc_roles: dict[str, Role] = {}
    """Group -> role; the highest one counts. Who is in none of them may not sign in."""

    @model_validator(mode="after")
    def _is_a_safe_provider(self) -> Self:
        if self.oidc_issuer is None:
            return self
        if not self.oidc_client_id:
            raise ValueError("oidc_client_id is needed beside oidc_issuer")
        if self.oidc_issuer.scheme != "https" and self.oidc_issuer.host not in {"localhost", "127.0.0.1", "::1"}:
            raise ValueError("oidc_issuer must be https: whoever altered its answers could sign in as anybody")
        return self


class WorkerSettings(BaseModel):
    max_attempts: PositiveInt = 3
    """Attempts on one upload that may have failed by its own fault; then it is a dead letter."""
    retry_delay: timedelta = timedelta(seconds=10)
    """Doubled at each attempt, and at each postponement because a server is away."""
    longest_retry_delay: timedelta = timedelta(minutes=5)
    give_up_after: timedelta = timedelta(hours=24)
    """An upload that is postponed for so long is a dead letter."""
    stale_after: timedelta = timedelta(minutes=5)
    """A row is sent again that stays so long with a worker, or queued where the queue lost messages; longer than the
    task's time limit."""
    reconcile_grace: timedelta = timedelta(minutes=15)
    """Objects and rows that are younger are not reconciled: their event may be on its way."""
    reconcile_repair: bool = False
    """The nightly reconciliation announces what is missing and closes what is gone; otherwise it only reports."""
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


class RetentionSettings(BaseModel):
    """How long rows are kept. Never removed are uploads without a verdict, open reviews and dead letters, webhooks that
    wait, and what the champion or challenger was made from."""

    uploads: Age = timedelta(days=400)
    """Finished ones, with verdicts, reviews and webhooks, and what is known of bytes that no other upload has. A year,
    so that seasons can be compared and appeals answered, and a month to do it."""
    embeddings: Age = None
    """None: as long as an upload has the bytes. Sooner: retraining has fewer photographs."""
    exif: Age = None
    """None: as long as an upload has the bytes."""
    webhooks: Age = timedelta(days=30)
    """Delivered or given up. As long as one can be sent again."""
    deletions: Age = timedelta(days=30)
    """Of objects. Far longer than S3 delays the event of the upload that a deletion overtook."""
    dead_letters: Age = timedelta(days=90)
    """Replayed or dropped ones."""
    drift_snapshots: Age = None
    """A few rows an hour, that name nobody."""
    audit_log: Age = None
    """Who decided what is wanted most when it is oldest."""
    batch_size: PositiveInt = 1000
    """Rows (uploads: with all that hangs on them) that one transaction removes."""
    max_batches: PositiveInt = 100
    """Of one kind and hourly run."""


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
    sign_in: SignInSettings = SignInSettings()
    review: ReviewSettings = ReviewSettings()
    worker: WorkerSettings = WorkerSettings()
    retrain: RetrainSettings = RetrainSettings()
    retention: RetentionSettings = RetentionSettings()
    log_json: bool = True
    log_level: str = "INFO"

    @cached_property
    def celery_broker(self) -> str:
        """Celery shares the Redis of the streams; its keys do not collide with theirs."""
        return self.redis.address
