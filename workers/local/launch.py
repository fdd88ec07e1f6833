"""All of Lenswatch on one machine: servers, schema, buckets, champion, processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.triton import TritonRepository
from pipeline.errors import DetectorUnavailable, NotFound
from pipeline.moderate import CHAMPION
from pipeline.passwords import hash_password
from pipeline.people import Role
from pipeline.release import Release
from pipeline.settings import Settings
from pipeline.store.migrate import upgrade
from workers.bootstrap import Dependencies
from workers.local import services
from workers.local.passwords import Passwords
from workers.local.processes import Process
from workers.local.stack import ADMIN, LocalStack


@dataclass(frozen=True, slots=True)
class Launched:
    """What runs, and a process's way to it."""

    stack: LocalStack
    dependencies: Dependencies
    processes: list[Process]

    def require_alive(self) -> None:
        """Raises ProcessFailed, with the end of its log, for a server or process that has died."""
        for process in (*self.processes, *(server.process for server in self.stack.servers)):
            process.require_alive()


@contextmanager
def servers(folder: Path) -> Iterator[tuple[LocalStack, Dependencies]]:
    """The servers, ready to work with: migrated, with buckets and a champion. This process is configured for them."""
    with LocalStack(folder) as stack:
        os.environ.update(stack.environment())
        with Dependencies(Settings()) as dependencies:
            prepare(dependencies)
            ensure_admin(dependencies, Passwords(stack.folder).get(ADMIN))
            yield stack, dependencies


@contextmanager
def launched(folder: Path) -> Iterator[Launched]:
    """Servers and all processes of Lenswatch under `folder`; stopped, and their data kept, at the end."""
    with servers(folder) as (stack, dependencies), services.running(stack.folder) as processes:
        yield Launched(stack, dependencies, processes)


def prepare(deps: Dependencies) -> None:
    """Schema and buckets, and the shipped release as champion where there is none that this version can read."""
    settings = deps.settings
    upgrade(settings)
    for bucket in (*settings.s3.buckets, settings.s3.model_bucket):
        deps.objects.ensure_bucket(bucket)
    repository = TritonRepository(settings.triton.model_repository, deps.triton)
    try:
        deps.registry.scorer(deps.registry.resolve(CHAMPION))
    except (NotFound, DetectorUnavailable):
        deps.registry.publish(Release.open(settings.detector.release), repository, actor="launch", alias="champion")


def ensure_admin(deps: Dependencies, password: str) -> None:
    """Somebody who can sign in. Where there is an account of that name, it and its password stay as they are."""
    with deps.stores.transaction() as transaction:
        try:
            transaction.accounts.named(ADMIN)
        except NotFound:
            hashed = hash_password(password)
            transaction.accounts.add(ADMIN, Role.ADMIN, created_by="launch", password_hash=hashed)
