"""Arrow's file systems for the places that a URL may name, set up from the environment.

Imports no TensorFlow. Credentials are never flags: the libraries of the stores find them in the
environment, in files of the home folder, or in the role of the machine.
"""

import datetime
import functools
import os
import ssl
from typing import NamedTuple

import pyarrow.fs as arrow_fs

from recall.errors import InputError
from serving.stores import failures, urls

_CONNECT_TIMEOUT_S = 5.0
"""The SDK waits for one second, which is short for a store at the other end of a country."""

_RETRIES = 8
"""Of a call that the store could not answer, with growing pauses, six seconds in all. The SDK's
other strategy has a budget for all calls of a process, and stops asking again when a store was
away for some minutes (measured: after 25 calls that failed)."""

_GCS_RETRY_TIME = datetime.timedelta(seconds=30)
"""The library goes on for 15 minutes, silently."""


class Location(NamedTuple):
    """A place as Arrow names it.

    Attributes:
        filesystem: Where it is.
        path: `bucket/key`, or a path of a local or Hadoop file system.
    """

    filesystem: arrow_fs.FileSystem
    path: str


def locate(place: str) -> Location:
    """The file system of a URL or local path; nothing is asked of the store.

    Raises:
        InputError: A setting in the environment makes no sense, or Hadoop's
            libraries are not there.
    """
    if not urls.is_url(place):
        return Location(_local(), os.path.abspath(place))
    scheme, authority, key = urls.split(place)
    if scheme == "hdfs":
        return Location(_hadoop(authority, os.getpid()), f"/{key}")
    filesystem = _s3(os.getpid(), _S3Settings.read()) if scheme == "s3" else _gcs(os.getpid())
    return Location(filesystem, f"{authority}/{key}" if key else authority)


class _S3Settings(NamedTuple):
    """What the environment says; the rest (credentials, region) the SDK reads itself.

    Attributes:
        endpoint: URL of another store than Amazon's, "" for theirs.
        anonymous: Whether requests are not signed.
        ca_file: Authorities of TLS, "" for those of the machine.
        proxy: URL of a proxy, "" for none.
    """

    endpoint: str
    anonymous: bool
    ca_file: str
    proxy: str

    @classmethod
    def read(cls) -> "_S3Settings":
        environment = os.environ
        endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL", "")
        if endpoint and not endpoint.startswith(("http://", "https://")):
            shown = failures.without_password(endpoint)
            raise InputError(
                f"AWS_ENDPOINT_URL={shown} must begin with http:// or https://, for example "
                "http://127.0.0.1:9000."
            )
        ca_file = environment.get("AWS_CA_BUNDLE") or ssl.get_default_verify_paths().cafile or ""
        secure = not endpoint.startswith("http://")
        proxy = environment.get("HTTPS_PROXY") or environment.get("https_proxy", "")
        return cls(
            endpoint,
            environment.get("AWS_NO_SIGN_REQUEST", "").lower() in ("1", "true", "yes"),
            ca_file if secure else "",
            proxy if secure and not endpoint else "",
        )


@functools.cache
def _local() -> arrow_fs.FileSystem:
    return arrow_fs.LocalFileSystem()


@functools.cache
def _s3(process: int, settings: _S3Settings) -> arrow_fs.FileSystem:
    """One per process: a forked one must not use the connections of its parent."""
    del process
    with failures.explained("s3://", "read"):
        return arrow_fs.S3FileSystem(
            endpoint_override=settings.endpoint or None,
            anonymous=settings.anonymous,
            tls_ca_file_path=settings.ca_file or None,
            proxy_options=settings.proxy or None,
            connect_timeout=_CONNECT_TIMEOUT_S,
            # Without it every small file is a multipart upload: three requests in place of one.
            allow_delayed_open=True,
            retry_strategy=arrow_fs.AwsDefaultS3RetryStrategy(max_attempts=_RETRIES),
        )


@functools.cache
def _gcs(process: int) -> arrow_fs.FileSystem:
    del process
    # The emulators of Google and others, which know no accounts.
    emulated = bool(os.environ.get("CLOUD_STORAGE_EMULATOR_ENDPOINT"))
    return arrow_fs.GcsFileSystem(anonymous=emulated, retry_time_limit=_GCS_RETRY_TIME)


@functools.cache
def _hadoop(authority: str, process: int) -> arrow_fs.FileSystem:
    del process
    place = f"hdfs://{authority}"
    host, _, port = authority.partition(":")
    if port and not port.isdecimal():
        raise InputError(f"{place}: the port {port!r} is no number.")
    with failures.explained(place, "read"):
        return arrow_fs.HadoopFileSystem(host or "default", int(port or 0))
