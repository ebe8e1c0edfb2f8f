"""What is the same in a folder of a store and in its copy, taken down between jobs.

Imports no TensorFlow. Sizes and times tell whether a file has changed since; nothing is read again.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from recall.errors import InputError
from serving.release import storage
from serving.stores.files import FileEntry


class Known(NamedTuple):
    """A file that is the same here and there.

    Attributes:
        size: In bytes.
        changed_ns: Time of its last change, by the store.
        local_ns: The same of the copy.
        sha256: Of the bytes.
    """

    size: int
    changed_ns: int
    local_ns: int
    sha256: str


class CopyState:
    """Known files by their path, and the parts that this machine is writing.

    Attributes:
        known: Files that are the same.
        writing: Random text of the writer by part, from before its first file is
            written until its list is: what is left of it was killed, or refused.
        replaced: The writer that the list there had before, by the same parts; None where there
            was no list.
    """

    def __init__(self, path: Path):
        """Reads what there is; after a damage nothing is known, and all is copied again."""
        self._path = path
        self.known: dict[str, Known] = {}
        self.writing: dict[str, str] = {}
        self.replaced: dict[str, str | None] = {}
        if path.exists():
            with contextlib.suppress(InputError, KeyError, TypeError, AttributeError):
                values = storage.read_json(path)
                self.writing, self.replaced = dict(values["writing"]), dict(values["replaced"])
                self.known = {name: Known(*facts) for name, facts in values["files"].items()}

    def write(self) -> None:
        """Takes it down."""
        values = {"writing": self.writing, "replaced": self.replaced, "files": self.known}
        storage.write_text(self._path, json.dumps(values) + "\n")

    def begin(self, part: str, writer: str, replaced: str | None) -> None:
        """Takes down that a part is going to be written."""
        self.writing[part], self.replaced[part] = writer, replaced
        self.write()

    def end(self, part: str) -> None:
        """Takes down that it is not being written any more."""
        del self.writing[part], self.replaced[part]
        self.write()

    def is_as_it_was(self, name: str, stat: os.stat_result) -> bool:
        """Whether the copy of a file has not changed."""
        known = self.known.get(name)
        return known is not None and (known.size, known.local_ns) == (
            stat.st_size,
            stat.st_mtime_ns,
        )

    def is_current(self, name: str, entry: FileEntry, path: Path) -> bool:
        """Whether a file has changed neither here nor there."""
        known = self.known.get(name)
        if known is None or not path.is_file():
            return False
        same_there = known[:2] == (entry.size, entry.changed_ns)
        return same_there and self.is_as_it_was(name, path.stat())
