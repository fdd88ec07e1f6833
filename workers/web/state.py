"""What a request handler asks for: `deps: Deps`; at the doors, which need less, `door: Door, settings: Config`."""

from __future__ import annotations

from typing import Annotated

import redis.asyncio
from fastapi import Depends, Request

from pipeline.settings import Settings
from workers.bootstrap import Dependencies


async def _dependencies(request: Request) -> Dependencies:
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _door(request: Request) -> redis.asyncio.Redis:
    door: redis.asyncio.Redis = request.app.state.door
    return door


Deps = Annotated[Dependencies, Depends(_dependencies)]
Config = Annotated[Settings, Depends(_settings)]
Door = Annotated[redis.asyncio.Redis, Depends(_door)]
