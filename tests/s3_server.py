"""A real S3 server on 127.0.0.1: moto's, in a thread of the tests."""

import contextlib
import logging
import urllib.request
import uuid
from collections.abc import Iterator

import boto3
from moto.server import ThreadedMotoServer

SECRETS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": "tests",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class S3Server:
    """The server, and what a test asks of it behind the back of the code.

    Attributes:
        url: Of the server, for AWS_ENDPOINT_URL.
        client: boto3's.
    """

    def __init__(self, url: str):
        self.url = url
        self.client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="tests",
            aws_secret_access_key="tests",
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use the server."""
        return {"AWS_ENDPOINT_URL": self.url, **SECRETS}

    def new_bucket(self) -> str:
        """The name of an empty bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        return name

    def keys(self, url: str) -> list[str]:
        """Keys below `s3://bucket/prefix`, relative to it, without markers of folders."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        prefix = f"{prefix}/" if prefix else ""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return sorted(key[len(prefix) :] for key in found if not key.endswith("/"))

    def get(self, url: str) -> bytes:
        """Content of an object."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def put(self, url: str, content: bytes) -> None:
        """Makes or replaces an object."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def delete(self, url: str) -> None:
        """Removes an object."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        self.client.delete_object(Bucket=bucket, Key=key)

    @contextlib.contextmanager
    def asking_for_signatures(self) -> Iterator[None]:
        """Lets the server refuse who is not known to it, which is everybody."""
        self._post("/moto-api/reset-auth", b"0")
        try:
            yield
        finally:
            self._post("/moto-api/reset-auth", b"inf")

    def _post(self, path: str, body: bytes) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}{path}", data=body, headers=headers)
        opener.open(request, timeout=10).close()


@contextlib.contextmanager
def running() -> Iterator[S3Server]:
    """A server on a free port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # It has a line for every request.
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield S3Server(f"http://{host}:{port}")
    finally:
        server.stop()
