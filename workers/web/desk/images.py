"""Pictures of uploads, for people who are signed in. Only what we encoded ourselves is ever sent."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse, Response

from pipeline.derived import content_type, picture
from pipeline.errors import NotFound
from pipeline.people import Role
from pipeline.pictures import Picture
from workers.web.desk.session import require
from workers.web.state import Deps

MAX_AGE = 600
"""s that a browser keeps a picture: as long as somebody works on an item and its neighbours."""

router = APIRouter(dependencies=[Depends(require(Role.VIEWER))], include_in_schema=False)


@router.get("/images/{upload_id}/{which}")
def image(upload_id: int, which: Picture, deps: Deps) -> Response:
    """One picture of an upload; drawn now if it never was."""
    try:
        content = picture(deps.pictures, upload_id, which)
    except NotFound as error:
        return PlainTextResponse(str(error), HTTPStatus.NOT_FOUND)
    headers = {"Cache-Control": f"private, max-age={MAX_AGE}", "Content-Disposition": "inline"}
    return Response(content, media_type=content_type(which), headers=headers)
