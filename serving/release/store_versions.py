"""Releases in an object store: which versions are published.

Imports no TensorFlow. Below the folder of the releases lie `index/`, `item_tower/` and
`user_tower/` with a folder per version, as on a disk, and `versions/`:

    versions/1764300000.json            the pointer, written last: from then on it is published
    versions/1764300000.3f9a01c2.claim  a publisher at work, or one that was killed
"""

import json
import re
from collections.abc import Hashable, Mapping
from typing import NamedTuple

from recall.errors import InputError
from serving.release import release
from serving.stores import files, urls

VERSIONS = "versions"

FORMAT = 1
"""Raised when a reader of the old pointers could not read the new ones."""

_POINTER = re.compile(r"(\d{1,19})\.json")


class Pointer(NamedTuple):
    """What a version is.

    Attributes:
        version: Its number.
        manifests: SHA-256 of the manifest of each part, by the part's name.
    """

    version: int
    manifests: Mapping[str, str]


def list_versions(serving_url: str) -> list[int]:
    """Published versions, ascending.

    Raises:
        InputError: The store cannot be asked.
    """
    names = files.list_names(urls.join(serving_url, VERSIONS))
    found = (_POINTER.fullmatch(name) for name in names)
    return sorted({int(match[1]) for match in found if match})


def read_pointer(serving_url: str, version: int) -> Pointer:
    """What a published version is.

    Raises:
        InputError: There is none, or it is damaged.
    """
    url = pointer_url(serving_url, version)
    try:
        values = json.loads(files.read_bytes(url))
        if values["format"] != FORMAT:
            raise InputError(
                f"{url} has format {values['format']!r}; this version of the software reads format "
                f"{FORMAT}. Update it."
            )
        sums = {part: str(values["manifests"][part]) for part in release.PARTS}
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{url} is damaged. Publish the release again.") from error
    return Pointer(version, sums)


def stamp(serving_url: str, version: int) -> Hashable:
    """Changes when a file of a version is replaced, added or removed.

    Raises:
        InputError: The store cannot be asked.
    """
    entries = [files.look_at(pointer_url(serving_url, version))]
    for part in release.PARTS:
        entries += files.list_files(part_url(serving_url, part, version))
    return frozenset(entries)


def part_url(serving_url: str, part: str, version: int) -> str:
    """Folder of a part of a version."""
    return urls.join(serving_url, part, str(version))


def pointer_url(serving_url: str, version: int) -> str:
    """Where the pointer of a version is, or will be."""
    return urls.join(serving_url, VERSIONS, f"{version}.json")
