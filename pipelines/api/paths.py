"""Paths as callers give them. Imports no TensorFlow."""

import os
from pathlib import Path
from typing import Any

from recall.errors import InputError
from serving.api.request_fields import in_one_line


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
    return Path(text)
