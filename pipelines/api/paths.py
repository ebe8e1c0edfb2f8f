"""Paths as callers give them, and URLs of object stores. Imports no TensorFlow."""

import os
from pathlib import Path
from typing import Any

from recall.errors import InputError
from serving.protocol.json_document import in_one_line
from serving.release import store_versions
from serving.stores import urls


def read(name: str, value: Any) -> Path:
    """An argument that names a file or a folder.

    Args:
        name: Of the argument, for errors.
        value: Of the caller.

    Raises:
        InputError: It is no path, or an empty one, which would be the current folder.

    >>> read("path", "runs/mine").name
    'mine'
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"`{name}` must be a path, received {in_one_line(value)}.")
    if urls.is_url(text):
        raise InputError(
            f"`{name}` must be on this machine, received {text}. The commands of `recall` take "
            "folders in object stores; in Python these are logs, items and releases."
        )
    return Path(text)


def read_releases(name: str, value: Any) -> Path | str:
    """An argument that names a folder of releases, here or in a store.

    Args:
        name: Of the argument, for errors.
        value: Of the caller.

    Returns:
        The path, or the URL; `serving/` of a run in a store.

    Raises:
        InputError: It is neither, or the store cannot be asked.
    """
    if not urls.is_url(value):
        return read(name, value)
    url = urls.parse(value, f"`{name}`")
    for folder in (url, urls.join(url, "serving")):
        if store_versions.list_versions(folder):
            return folder
    return url
