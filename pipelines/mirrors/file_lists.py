"""What a folder in a store holds, with checksums: `recall_files.json`, written last.

Imports no TensorFlow. A store shows files one by one, and has no rename. So every artifact there
has a list of its files. While a job's result is being copied there, the list says so, and no
reader takes half of it for a whole.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from recall.errors import InputError
from serving.stores import files, urls

NAME = "recall_files.json"

FORMAT = 1
"""Raised when a reader of the old lists could not read the new ones."""


class ListedFile(NamedTuple):
    """One file of a folder.

    Attributes:
        size: In bytes.
        sha256: Hexadecimal.
    """

    size: int
    sha256: str


class FileList(NamedTuple):
    """The files of one folder.

    Attributes:
        is_whole: False while they are being written.
        writer: Who writes or wrote them: a random text.
        files: By path within the folder.
    """

    is_whole: bool
    writer: str
    files: Mapping[str, ListedFile]


def read(url: str) -> FileList:
    """Reads a list.

    Raises:
        InputError: It cannot be read, or is none.
    """
    try:
        values: dict[str, Any] = json.loads(files.read_bytes(url))
        if values["format"] != FORMAT:
            raise InputError(
                f"{url} has format {values['format']!r}; this version of the software reads format "
                f"{FORMAT}. Update it."
            )
        listed = {
            name: ListedFile(int(file["bytes"]), str(file["sha256"]))
            for name, file in values["files"].items()
        }
        return FileList(values["whole"] is True, str(values["writer"]), listed)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{url} is damaged. Remove {url.rpartition('/')[0]}, and make it again."
        ) from error


def write(url: str, content: FileList) -> None:
    """Writes a list; readers see the old or the new one.

    Raises:
        InputError: The store refuses it.
    """
    values = {
        "format": FORMAT,
        "whole": content.is_whole,
        "writer": content.writer,
        "files": {
            name: {"bytes": file.size, "sha256": file.sha256}
            for name, file in sorted(content.files.items())
        },
    }
    files.write_bytes(url, (json.dumps(values, indent=1) + "\n").encode())


def url_in(folder: str, part: str) -> str:
    """Where the list of a folder is; `part` is the path below it, "" for the folder itself."""
    return urls.join(folder, part, NAME) if part else urls.join(folder, NAME)
