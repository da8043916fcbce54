"""A server on this machine that behaves like S3, with one bucket that anyone may read."""

from __future__ import annotations

from typing import Any
from urllib.request import Request, urlopen

import pytest


class S3:
    """A bucket of a server that gives ten keys a page of a listing.

    url: of the bucket.
    """

    def __init__(self) -> None:
        boto3 = pytest.importorskip("boto3")
        server = pytest.importorskip("moto.server")
        self._server = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        self._boto: Any = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
        self.host = f"{host}:{port}"
        self.url = f"http://{host}:{port}/archive"

    def empty(self) -> None:
        """Forget all objects."""
        urlopen(Request(f"http://{self.host}/moto-api/reset", method="POST")).close()
        self._boto.create_bucket(Bucket="archive", ACL="public-read")

    def put(self, key: str, data: bytes, *, acl: str = "public-read") -> None:
        """Put an object, whose ETag is its MD5."""
        self._boto.put_object(Bucket="archive", Key=key, Body=data, ACL=acl)

    def put_in_parts(self, key: str, data: bytes) -> None:
        """Put an object, whose ETag tells nothing of its content."""
        of = {"Bucket": "archive", "Key": key}
        upload = self._boto.create_multipart_upload(**of, ACL="public-read")["UploadId"]
        part = self._boto.upload_part(**of, UploadId=upload, PartNumber=1, Body=data)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        self._boto.complete_multipart_upload(**of, UploadId=upload, MultipartUpload=parts)

    def remove(self, key: str) -> None:
        self._boto.delete_object(Bucket="archive", Key=key)

    def close(self) -> None:
        self._server.stop()
