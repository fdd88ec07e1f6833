"""The use case: give me this picture of this upload. Pictures are made once, all together, and kept in S3.

They lie in the model bucket, under the image's digest, so that an erasure and retention find them; where the platform
deletes the object, they go too. Only images that were decoded before, under the same limits, get that far; still, one
image at a time is decoded in a process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

import structlog

from pipeline.decode import decode
from pipeline.derived_files import delete_derived, derived_keys, derived_prefix
from pipeline.errors import NotFound, PicturesBusy, RejectedUpload
from pipeline.evidence import Drawable
from pipeline.fetch import fetch
from pipeline.pictures import Picture, draw, draw_heat, orientation_of, pdq
from pipeline.ports import ObjectStore
from pipeline.records import DecodedImage
from pipeline.settings import LimitSettings

log = structlog.get_logger(__name__)

MAX_PICTURE_BYTES = 256 << 20
"""More than a picture of 50 megapixels has."""

PATIENCE = 10
"""s that a picture waits for others to be drawn: threads that wait for longer would be missing elsewhere."""

_PIXELS = (Picture.THUMB, Picture.BLURRED, Picture.VIEW, Picture.FULL, Picture.RESIDUAL)


class PictureStore(Protocol):
    """Runs inside the caller's transaction and never commits; `pipeline.store.Pictures`."""

    def drawable(self, upload_id: int) -> Drawable:
        """Raises NotFound where there is nothing to draw: unknown, never decoded, or deleted."""
        ...

    def mark_drawn(self, sha256: str) -> None:
        """Note that there are pictures. Until the transaction ends, nobody erases these bytes' rows.

        Raises NotFound where somebody has, or where every object with these bytes was deleted.
        """
        ...

    def claim_left(self, limit: int) -> list[str]:
        """SHA-256 of images whose every object was deleted since pictures were made; counts as removed on commit."""
        ...

    def set_pdq(self, sha256: str, bits: str) -> None: ...


class PictureTransaction(Protocol):
    @property
    def pictures(self) -> PictureStore: ...


@dataclass(frozen=True, slots=True)
class PictureDeps:
    transaction: Callable[[], AbstractContextManager[PictureTransaction]]
    objects: ObjectStore
    model_bucket: str
    limits: LimitSettings
    drawing: Lock = field(default_factory=Lock)
    """Held while a picture is made: whoever waits for the same one then finds it made."""


def picture(deps: PictureDeps, upload_id: int, which: Picture) -> bytes:
    """The picture's bytes: a PNG if `heat`, else a JPEG.

    Raises:
        NotFound: there is none, and why.
        ObjectStoreUnavailable, StoreUnavailable, PicturesBusy: worth another try.
    """
    drawable = _drawable(deps, upload_id)
    if which is Picture.HEAT and drawable.score is None:
        raise NotFound("it has no score, so no heat map")
    key = picture_key(drawable, which)
    content = _stored(deps, key)
    if content is not None:
        return content
    with _turn(deps):
        content = _stored(deps, key) or _make(deps, drawable).get(which) or _stored(deps, key)  # or another process did
    if content is None:
        raise NotFound("its pictures were removed just now")
    return content


def prepare(deps: PictureDeps, upload_id: int) -> None:
    """Make what is missing of an upload's pictures. Raises as `picture` does."""
    drawable = _drawable(deps, upload_id)
    with _turn(deps):
        _make(deps, drawable)


def remove_left(deps: PictureDeps, *, limit: int = 100) -> int:
    """Remove pictures of images whose objects were deleted; returns of how many images."""
    with deps.transaction() as transaction:
        gone = transaction.pictures.claim_left(limit)
        delete_derived(deps.objects, deps.model_bucket, gone)
    return len(gone)


def picture_key(drawable: Drawable, which: Picture) -> str:
    """The number after the name is the recipe's: raise it when pictures of a kind are drawn otherwise."""
    name = f"heat-1-{drawable.model_id}.png" if which is Picture.HEAT else f"{which.value}-1.jpg"
    return derived_prefix(drawable.sha256) + name


def content_type(which: Picture) -> str:
    return "image/png" if which is Picture.HEAT else "image/jpeg"


@contextmanager
def _turn(deps: PictureDeps) -> Iterator[None]:
    if not deps.drawing.acquire(timeout=PATIENCE):
        raise PicturesBusy("other pictures are being drawn")
    try:
        yield
    finally:
        deps.drawing.release()


def _drawable(deps: PictureDeps, upload_id: int) -> Drawable:
    with deps.transaction() as transaction:
        return transaction.pictures.drawable(upload_id)


def _stored(deps: PictureDeps, key: str) -> bytes | None:
    try:
        return deps.objects.get(deps.model_bucket, key, max_bytes=MAX_PICTURE_BYTES)
    except RejectedUpload:  # it is not there
        return None


def _make(deps: PictureDeps, drawable: Drawable) -> dict[Picture, bytes]:
    """Draw and store all pictures that are missing; a new model's heat map needs no look at the image."""
    present = derived_keys(deps.objects, deps.model_bucket, drawable.sha256)
    orientation = orientation_of(drawable.format, drawable.tags)
    made: dict[Picture, bytes] = {}
    bits = None
    if any(picture_key(drawable, which) not in present for which in _PIXELS):
        image = _decoded(deps, drawable)
        made, bits = draw(image, orientation), pdq(image)
    if drawable.score is not None and picture_key(drawable, Picture.HEAT) not in present:
        made[Picture.HEAT] = draw_heat(drawable.score, drawable.width, drawable.height, orientation)
    _keep(deps, drawable, made, bits)
    return made


def _decoded(deps: PictureDeps, drawable: Drawable) -> DecodedImage:
    try:
        stored = fetch(deps.objects, drawable.event, deps.limits)
        if stored.sha256 != drawable.sha256:
            raise NotFound("the object has changed since it was judged")
        return decode(stored.content, deps.limits)
    except RejectedUpload as error:
        raise NotFound(f"no picture can be made: {error}") from error


def _keep(deps: PictureDeps, drawable: Drawable, made: dict[Picture, bytes], bits: str | None) -> None:
    """Store them while the bytes' row is held: an erasure comes before all of them, or after all and finds them."""
    with deps.transaction() as transaction:
        transaction.pictures.mark_drawn(drawable.sha256)
        for which, content in made.items():
            key = picture_key(drawable, which)
            deps.objects.put(deps.model_bucket, key, content, content_type=content_type(which))
        if bits is not None:
            transaction.pictures.set_pdq(drawable.sha256, bits)
