"""Files made from an image (views, thumbnails, overlays): where they lie, and how they go with their image."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.ports import ObjectStore


def derived_prefix(sha256: str) -> str:
    """Where files made from an image lie in the model bucket. The one place that says so."""
    return f"derived/{sha256}/"


def derived_keys(objects: ObjectStore, bucket: str, sha256: str) -> list[str]:
    return [found.key for found in objects.list_objects(bucket, derived_prefix(sha256))]


def delete_derived(objects: ObjectStore, bucket: str, hashes: Iterable[str]) -> int:
    """Delete all files of these images; returns how many there were."""
    keys = [key for sha256 in hashes for key in derived_keys(objects, bucket, sha256)]
    for key in keys:
        objects.delete(bucket, key)
    return len(keys)
