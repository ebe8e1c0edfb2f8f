"""Names of files and folders in object stores and HDFS: `s3://bucket/key`, `gs://`, `hdfs://`.

Imports neither TensorFlow nor NumPy nor Arrow, and asks no store: whatever takes a path may
look here first. A URL stays a text; `pathlib` would make `s3:/` of `s3://`.
"""

import os
import re

from recall.errors import InputError

SCHEMES = ("s3", "gs", "hdfs")
"""What has a reader and a writer (`serving/stores/files.py`)."""

_ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
"""Names that Spark, Hadoop and fsspec have for them."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

_PATTERN = re.compile(r"[*?\[]")


def is_url(path: object) -> bool:
    """Whether a path is in a store, in any spelling of its scheme.

    >>> is_url("S3A://bucket/x"), is_url("file:///x"), is_url("runs/mine")
    (True, False, False)
    """
    found = _URL.match(path) if isinstance(path, str) else None
    return found is not None and _scheme(found[1]) in SCHEMES


def parse(url: str, name: str) -> str:
    """The one spelling of a URL: `S3A://bucket/a//b/` is `s3://bucket/a/b`.

    Args:
        url: As it was given; `is_url` holds.
        name: What it was given for, for example `--output`; for errors.

    Raises:
        InputError: It names no bucket, or leads upwards.
    """
    found = _URL.match(url)
    if found is None:
        raise InputError(f"{name}={url} is no URL of an object store. Write s3://bucket/folder.")
    scheme = _scheme(found[1])
    authority, *parts = found[2].split("/")
    if scheme != "hdfs" and not authority:
        raise InputError(f"{name}={url} names no bucket. Write {scheme}://BUCKET/folder.")
    if "@" in authority:
        raise InputError(
            f"{name} has a password in it, which would be seen in logs. Write "
            f"{scheme}://{authority.rpartition('@')[2]}/..., and give credentials by the "
            "environment."
        )
    parts = [part for part in parts if part not in ("", ".")]
    if ".." in parts:
        raise InputError(f"{name}={url} has `..` in it. Write the place itself.")
    if any(ord(character) < 32 for character in url):
        raise InputError(f"{name}={url!r} has control characters in it. Rename the folder.")
    return "/".join([f"{scheme}://{authority}", *parts])


def join(folder: str, *names: str) -> str:
    """A place below a folder, which is a URL or a local path.

    >>> join("s3://bucket/run/", "model"), join("runs/mine", "model")
    ('s3://bucket/run/model', 'runs/mine/model')
    """
    if is_url(folder):
        return "/".join([folder.rstrip("/"), *names])
    return os.path.join(folder, *names)


def split(url: str) -> tuple[str, str, str]:
    """Scheme, bucket (or name node) and key of a URL that `parse` returned.

    >>> split("s3://bucket/a/b.csv")
    ('s3', 'bucket', 'a/b.csv')
    """
    found = _URL.match(url)
    authority, _, key = found[2].partition("/")
    return _scheme(found[1]), authority, key


def relative(url: str, folder: str) -> str:
    """The path of a file below a folder.

    >>> relative("s3://bucket/run/model/config.json", "s3://bucket/run")
    'model/config.json'
    """
    return url[len(folder.rstrip("/")) + 1 :]


def name_of(place: str) -> str:
    """The last part of a URL or path."""
    return place.rstrip("/").rpartition("/")[2]


def split_pattern(url: str) -> tuple[str, str]:
    """The folder before the first part with `*`, `?` or `[...]`, and the rest.

    >>> split_pattern("s3://bucket/day=*/a.csv")
    ('s3://bucket', 'day=*/a.csv')
    """
    head, *parts = url.split("/")
    fixed = next((i for i, part in enumerate(parts) if i > 1 and _PATTERN.search(part)), len(parts))
    return "/".join([head, *parts[:fixed]]), "/".join(parts[fixed:])


def _scheme(text: str) -> str:
    return _ALIASES.get(text.lower(), text.lower())
