"""`ObjectStore` over boto3: AWS S3, MinIO, or any server that speaks S3. botocore's errors become ours here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, SSLError

from pipeline.errors import ObjectStoreUnavailable, RejectedUpload, RejectReason
from pipeline.ports import ObjectInfo
from pipeline.settings import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK_BYTES = 1 << 16

_MISSING = {  # answers to GetObject
    "NoSuchKey",
    "NoSuchVersion",
    "MethodNotAllowed",  # the version is a delete marker
    "InvalidArgument",  # not a version id of this server
    "NotImplemented",  # a server without versions
    "KeyTooLongError",
    "InvalidObjectState",  # in an archive, from which somebody would have to restore it first
}


class S3ObjectStore:
    """One client, made in the process that uses it (never across a fork)."""

    def __init__(self, settings: S3Settings) -> None:
        self._client = _client(settings)
        self._download_timeout = settings.download_timeout

    def get(self, bucket: str, key: str, *, version_id: str | None = None, max_bytes: int) -> bytes:
        version = {"VersionId": version_id} if version_id else {}
        deadline = time.monotonic() + self._download_timeout
        with _errors_translated(missing=_MISSING):
            response = self._client.get_object(Bucket=bucket, Key=key, **version)  # type: ignore[arg-type]
            body = response["Body"]
            try:
                content = bytearray()
                for chunk in body.iter_chunks(_CHUNK_BYTES):
                    content += chunk
                    if len(content) > max_bytes:
                        raise RejectedUpload(RejectReason.TOO_LARGE, f"over {max_bytes} bytes")
                    if time.monotonic() > deadline:
                        raise ObjectStoreUnavailable(f"only {len(content)} bytes in {self._download_timeout:g} s")
            finally:
                body.close()
        return bytes(content)

    def put(self, bucket: str, key: str, content: bytes, *, content_type: str = "application/octet-stream") -> str:
        with _errors_translated():
            response = self._client.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)
        return response["ETag"].strip('"')

    def list_objects(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        with _errors_translated():
            for page in pages:
                for row in page.get("Contents", ()):
                    yield ObjectInfo(bucket, row["Key"], row["Size"], row["ETag"].strip('"'), row["LastModified"])

    def delete(self, bucket: str, key: str) -> None:
        with _errors_translated():
            self._client.delete_object(Bucket=bucket, Key=key)

    def ensure_bucket(self, bucket: str) -> None:
        with _errors_translated():
            try:
                self._client.head_bucket(Bucket=bucket)
            except ClientError as error:
                if _code(error) not in {"404", "NoSuchBucket"}:
                    raise
                self._client.create_bucket(Bucket=bucket)


def _client(settings: S3Settings) -> S3Client:
    key_id, secret = settings.access_key_id, settings.secret_access_key
    client: S3Client = boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        verify=str(settings.tls_ca) if settings.tls_ca else True,
        aws_access_key_id=key_id.get_secret_value() if key_id else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            retries={"mode": "standard", "total_max_attempts": 2},
            # Servers other than AWS do not know the newer checksums that boto3 would otherwise ask for.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    return client


@contextmanager
def _errors_translated(missing: Set[str] = frozenset()) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if _code(error) in missing:
            raise RejectedUpload(RejectReason.OBJECT_MISSING, _code(error)) from error
        raise ObjectStoreUnavailable(_code(error)) from error
    except SSLError as error:
        raise ObjectStoreUnavailable(str(error)) from error  # what is wrong with the certificate
    except BotoCoreError as error:
        raise ObjectStoreUnavailable(type(error).__name__) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
