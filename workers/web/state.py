"""What a request handler asks for: `deps: Deps`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from workers.bootstrap import Dependencies


async def _dependencies(request: Request) -> Dependencies:
    dependencies: Dependencies = request.app.state.dependencies
    return dependencies


Deps = Annotated[Dependencies, Depends(_dependencies)]
