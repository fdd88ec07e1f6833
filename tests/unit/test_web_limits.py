"""How many requests a web process takes on. Limits of bodies: `integration/test_web_ingest.py`."""

from __future__ import annotations

import asyncio

import httpx
from starlette.responses import Response

from workers.web.limits import RequestLimit


def test_what_cannot_be_answered_soon_is_refused_at_once():
    asyncio.run(_two_at_a_time())


async def _two_at_a_time():
    free, working = asyncio.Event(), asyncio.Queue()

    async def slow(scope, receive, send):
        if scope["path"] == "/v1/uploads":
            working.put_nowait(scope)
            await free.wait()
        await Response(status_code=202)(scope, receive, send)

    transport = httpx.ASGITransport(RequestLimit(slow, most=2))
    async with httpx.AsyncClient(transport=transport, base_url="http://web") as client:
        taken = [asyncio.create_task(client.post("/v1/uploads")) for _ in range(2)]
        for _ in taken:
            await working.get()
        refused = await client.post("/v1/uploads")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert refused.json()["type"] == "urn:lenswatch:problem:busy"
        assert (await client.get("/healthz")).status_code == 202  # who watches is always answered
        free.set()
        assert [answer.status_code for answer in await asyncio.gather(*taken)] == [202, 202]
        assert (await client.post("/v1/uploads")).status_code == 202  # and there is room again
