"""Small valid inputs, all made here, that mutations start from."""

from __future__ import annotations

import io
import json
from typing import Any

from PIL import Image

from pipeline.exif import INTEGER_TAGS, REAL_TAGS, TEXT_TAGS
from tests import images

EVENT = {
    "schema_version": 1,
    "event_id": "one",
    "bucket": "uploads",
    "key": "photos/ä 1.jpg",
    "version_id": "v1",
    "etag": "abc",
    "sequencer": "0055AED6DCD90281E5",
    "uploaded_at": "2026-01-02T03:04:05.678+02:00",
    "surface": "avatars",
    "uploader_id": "u1",
    "lane": "backfill",
    "callback": "platform",
}

_OBJECT = {"key": "photos/a+b%20c.jpg", "size": 3, "eTag": "abc", "versionId": "v1", "sequencer": "0055AED6"}
RECORD = {
    "eventName": "ObjectCreated:Put",
    "eventTime": "2026-01-02T03:04:05.000Z",
    "s3": {"bucket": {"name": "uploads"}, "object": _OBJECT},
}
EVENT_BRIDGE = {
    "detail-type": "Object Created",
    "source": "aws.s3",
    "time": "2026-01-02T03:04:05Z",
    "detail": {"bucket": {"name": "uploads"}, "object": {"key": "a b.jpg", "etag": "abc", "version-id": "v1"}},
}

TAG_NAMES = [
    *(f"EXIF:{name}" for name in (*TEXT_TAGS, *INTEGER_TAGS, *REAL_TAGS)),
    "ExifTool:Warning",
    "ExifTool:Error",
    "EXIF:UserComment",
    "IPTC:Credit",
    "JUMBF:JUMDLabel",
    "JUMBF:ActionsDigitalSourceType",
    "PNG:Parameters",
    "PNG:Prompt",
    "PNG:Software",
    "XMP:CreatorTool",
    "XMP:DigitalSourceType",
    "XMP:Provenance",
    "XMP:Description",
]

TAGS: list[dict[str, Any]] = [
    {"EXIF:Make": "Canon", "EXIF:FNumber": "2.8", "EXIF:ISO": "100 200", "EXIF:ExposureTime": "inf"},
    {"XMP:DigitalSourceType": ["http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"]},
    {"PNG:Parameters": "Steps: 20, Sampler: Euler", "JUMBF:JUMDLabel": "c2pa", "ExifTool:Warning": "bad"},
]


def texts() -> list[bytes]:
    """Events and notifications as JSON."""
    return [json.dumps(value).encode() for value in (EVENT, {"Records": [RECORD]}, EVENT_BRIDGE)]


def tags() -> list[bytes]:
    return [json.dumps(value).encode() for value in TAGS]


def pictures() -> list[bytes]:
    """A few hundred bytes in every format that is allowed, in the forms that take different ways through a decoder."""
    photo = images.photo(16, 20)
    grey, rgba = Image.fromarray(photo).convert("L"), Image.fromarray(photo).convert("RGBA")
    frames = [Image.fromarray(images.photo(16, 20, seed)) for seed in (1, 2)]
    moving = {"save_all": True, "append_images": frames[1:]}
    made = [
        images.jpeg(photo, exif=images.exif(FNumber=2.8), comment=b"c"),
        images.jpeg(photo, progressive=True, subsampling=0),
        images.encode(Image.fromarray(photo).convert("CMYK"), "JPEG"),
        images.png(photo, text={"Comment": "x"}),
        images.encode(Image.fromarray(photo).quantize(8), "PNG", transparency=0),
        images.encode(frames[0], "PNG", **moving),
        *(images.encode(rgba, "TIFF", compression=kind) for kind in ("raw", "tiff_lzw", "tiff_deflate", "packbits")),
        images.encode(frames[0].convert("YCbCr"), "TIFF", compression="jpeg"),
        images.encode(grey.convert("1"), "TIFF", compression="group4"),
        images.encode(frames[0], "TIFF", **moving),
        images.encode(photo, "WEBP"),
        images.encode(rgba, "WEBP", lossless=True, exif=images.exif()),
        images.encode(frames[0], "WEBP", **moving),
        images.encode(photo, "AVIF", speed=10),
        images.encode(frames[0], "AVIF", speed=10, **moving),
        images.encode(photo, "HEIF"),
        images.encode(rgba, "HEIF", exif=images.exif()),
    ]
    file = io.BytesIO()
    grey.point(lambda level: level * 256, "I").convert("I;16").save(file, "PNG")
    return [*made, file.getvalue()]
