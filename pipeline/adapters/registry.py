"""The model registry: rows and aliases in Postgres, the files of releases in S3.

A version's row exists only once everything it names does: first its networks on Triton, then its files in the bucket,
its row, its alias. What a failure leaves behind, the next try finds and completes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from pipeline.errors import Conflict, DetectorUnavailable, NotFound, ObjectStoreUnavailable, RejectedUpload
from pipeline.moderate import CHAMPION
from pipeline.ports import ObjectStore
from pipeline.records import ModelVersion
from pipeline.release import CARD, Release, make_scorer
from pipeline.score import Scorer
from pipeline.settings import Settings

CHALLENGER = "challenger"

MAX_FILE_BYTES = 1 << 30
"""More than any file of a release has."""


class VersionStore(Protocol):
    """The registry's rows; `pipeline.store.Versions`."""

    def add(
        self,
        *,
        name: str,
        encoder_version: int,
        binary_version: int,
        artifact_prefix: str,
        card: Mapping[str, Any],
        created_by: str,
        base_id: int | None = None,
    ) -> ModelVersion: ...

    def list_all(self) -> list[ModelVersion]: ...

    def get(self, name: str) -> ModelVersion: ...

    def aliases(self) -> dict[str, str]: ...

    def resolve(self, alias: str) -> ModelVersion: ...

    def point(self, alias: str, version_id: int | None, *, actor: str, reason: str) -> int | None: ...

    def before(self, alias: str) -> ModelVersion: ...


class RegistryTransaction(Protocol):
    @property
    def versions(self) -> VersionStore: ...


class RegistryStores(Protocol):
    """`pipeline.store.Stores`, as far as the registry uses it."""

    def transaction(self) -> AbstractContextManager[RegistryTransaction]: ...


class NetworkRepository(Protocol):
    """Where the networks are served from; `pipeline.adapters.triton.TritonRepository`."""

    def install(self, release: Release) -> tuple[int, int]:
        """Put the networks up, unless they are; returns their versions (encoder, binary)."""
        ...


class Registry:
    """Implements `ports.ModelRegistry`, and moves versions in and out of service.

    Every method is a short transaction of its own. All raise `StoreUnavailable` and `ObjectStoreUnavailable`.
    """

    def __init__(self, stores: RegistryStores, objects: ObjectStore, settings: Settings) -> None:
        self._stores = stores
        self._objects = objects
        self._bucket = settings.s3.model_bucket
        self._scorers: dict[int, Scorer] = {}

    def resolve(self, alias: str) -> ModelVersion:
        """The version that `alias` points to. Raises NotFound. Never cached: a rollback holds from its commit on."""
        with self._stores.transaction() as transaction:
            return transaction.versions.resolve(alias)

    def get(self, name_or_alias: str) -> ModelVersion:
        """Raises NotFound."""
        with self._stores.transaction() as transaction:
            return _find(transaction.versions, name_or_alias)

    def list_versions(self) -> list[ModelVersion]:
        """Newest first."""
        with self._stores.transaction() as transaction:
            return transaction.versions.list_all()

    def aliases(self) -> dict[str, str]:
        """Alias -> name of its version; an alias that points nowhere is left out."""
        with self._stores.transaction() as transaction:
            return transaction.versions.aliases()

    def scorer(self, model: ModelVersion) -> Scorer:
        """The version's scorer, from the bucket; kept, as versions are never edited.

        Raises DetectorUnavailable for a version of another file format: its uploads wait for one that can be read.
        """
        if model.id not in self._scorers:  # two threads may both load it: the same scorer twice
            names = ("one_class.npz", "read_out.npz", "encoder.json")
            one_class, read_out, encoder = (self._read(model, name) for name in names)
            try:
                self._scorers[model.id] = make_scorer(one_class, read_out, json.loads(encoder))
            except ValueError as error:
                raise DetectorUnavailable(f"{model.name} is not of this Lenswatch's format: {error}") from error
        return self._scorers[model.id]

    def card_text(self, version: ModelVersion) -> str | None:
        """The release's `MODEL_CARD.md`; None for a refit, which is described by its numbers alone."""
        if CARD not in version.card.get("files", {}):
            return None
        return self._read(version, CARD).decode(errors="replace")

    def publish(
        self, release: Release, repository: NetworkRepository, *, actor: str, alias: str | None = CHALLENGER
    ) -> ModelVersion:
        """Put a release into service; an alias points to it afterwards. Publishing it again changes nothing.

        Raises:
            Conflict: other files were published under this name, or Triton numbers its networks otherwise by now.
            DetectorUnavailable: its networks do not come up.
        """
        files = {path.name: path.read_bytes() for path in release.files()}
        version = self._published(release.name, files)
        networks = repository.install(release)
        if version is None:
            version = self._add(release.name, files, release.one_class_json, networks, actor=actor)
        elif networks != (version.encoder_version, version.binary_version):
            raise Conflict(
                f"Triton holds the networks of {release.name} as versions {networks}, not as it was published"
            )
        if alias is not None:
            with self._stores.transaction() as transaction:
                _point(transaction.versions, alias, version, actor=actor, reason="published")
        return version

    def publish_refit(
        self, base: ModelVersion, *, name: str, one_class: bytes, card: Mapping[str, Any], actor: str = "retrain"
    ) -> ModelVersion:
        """A version with `base`'s networks and this `one_class.npz`; `challenger` points to it afterwards.

        Only what scoring reads is stored: the networks' files are those of `base`. Raises Conflict where the name is
        taken.
        """
        files = {
            "one_class.npz": one_class,
            "one_class.json": json.dumps(dict(card), indent=1).encode(),
            "encoder.json": self._read(base, "encoder.json"),
            "read_out.npz": self._read(base, "read_out.npz"),
        }
        if self._published(name, files) is not None:
            raise Conflict(f"model version {name} exists already")
        networks = (base.encoder_version, base.binary_version)
        version = self._add(name, files, card, networks, actor=actor, base=base)
        with self._stores.transaction() as transaction:
            _point(transaction.versions, CHALLENGER, version, actor=actor, reason=f"refit of {base.name}")
        return version

    def promote(self, name_or_alias: str, *, actor: str, reason: str) -> ModelVersion:
        """Make it the champion; a challenger that was promoted is no challenger any more. Raises NotFound."""
        with self._stores.transaction() as transaction:
            version = _find(transaction.versions, name_or_alias)
            _point(transaction.versions, CHAMPION, version, actor=actor, reason=reason)
        return version

    def rollback(self, *, actor: str, reason: str) -> ModelVersion:
        """Bring back the champion before the present one; a second call goes back one further.

        Raises:
            NotFound: there is no champion, or it is the first one.
        """
        with self._stores.transaction() as transaction:
            version = transaction.versions.before(CHAMPION)
            transaction.versions.point(CHAMPION, version.id, actor=actor, reason=reason)
        return version

    def _published(self, name: str, files: Mapping[str, bytes]) -> ModelVersion | None:
        """The version of this name, if it has these files. Raises Conflict if it has others."""
        try:
            version = self.get(name)
        except NotFound:
            return None
        if version.card.get("files") != _hashes(files):
            raise Conflict(f"model version {name} exists already, with other files: give the release a new name")
        return version

    def _add(
        self,
        name: str,
        files: Mapping[str, bytes],
        card: Mapping[str, Any],
        networks: tuple[int, int],
        *,
        actor: str,
        base: ModelVersion | None = None,
    ) -> ModelVersion:
        """Upload the files, then write the row. `networks` are the versions of encoder and binary detector."""
        prefix = f"models/{name}/"
        self._objects.ensure_bucket(self._bucket)
        for file, content in files.items():
            self._objects.put(self._bucket, prefix + file, content)
        encoder_version, binary_version = networks
        with self._stores.transaction() as transaction:
            return transaction.versions.add(
                name=name,
                base_id=base.id if base else None,
                encoder_version=encoder_version,
                binary_version=binary_version,
                artifact_prefix=prefix,
                card={**card, "files": _hashes(files)},
                created_by=actor,
            )

    def _read(self, model: ModelVersion, file: str) -> bytes:
        key = model.artifact_prefix + file
        try:
            return self._objects.get(self._bucket, key, max_bytes=MAX_FILE_BYTES)
        except RejectedUpload as error:  # the bucket is what is wrong, not the upload that needs the model
            raise ObjectStoreUnavailable(f"{self._bucket}/{key}: {error}") from error


def _find(versions: VersionStore, name_or_alias: str) -> ModelVersion:
    if name_or_alias in (CHAMPION, CHALLENGER):
        return versions.resolve(name_or_alias)
    return versions.get(name_or_alias)


def _point(versions: VersionStore, alias: str, version: ModelVersion, *, actor: str, reason: str) -> None:
    """Move an alias; no version is champion and challenger at once."""
    aliases = versions.aliases()
    if alias == CHALLENGER and aliases.get(CHAMPION) == version.name:
        return
    versions.point(alias, version.id, actor=actor, reason=reason)
    if alias == CHAMPION and aliases.get(CHALLENGER) == version.name:
        versions.point(CHALLENGER, None, actor=actor, reason=reason)


def _hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """File name -> SHA-256."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
