"""What a request handler asks for: `deps: Deps`, or `doors: Doors`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from workers.bootstrap import Dependencies
from workers.door import Door


async def _dependencies(request: Request) -> Dependencies:
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies


async def _doors(request: Request) -> Door:
    door: Door = request.app.state.door
    return door


Deps = Annotated[Dependencies, Depends(_dependencies)]
Doors = Annotated[Door, Depends(_doors)]
