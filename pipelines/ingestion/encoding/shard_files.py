"""Files that one ingest step leaves for the next, one set per shard of users.

A step may run in another process or twice; a file appears whole or not at all,
and a second run writes the same content. Imports no TensorFlow and no Beam.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from serving.release import storage


class ShardFiles:
    """Record batches, arrays and JSON facts by step and number in one folder.

    The folder must be reachable under one path from every worker.
    """

    def __init__(self, directory: str | Path):
        """Uses `directory`, which exists."""
        self.directory = Path(directory)

    def write_batches(self, step: str, number: int, batches: Sequence[pa.RecordBatch]) -> None:
        """Stores record batches of one schema, of which each can be read alone."""
        with (
            self._written(step, number, "arrow") as path,
            pa.OSFile(str(path), "wb") as file,
            pa.ipc.new_file(file, batches[0].schema) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch)

    def read_batch(self, step: str, number: int, at: int = 0) -> pa.RecordBatch:
        """One of the record batches, a map of the file: what is not looked at is not read."""
        path = self._path(step, number, "arrow")
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            return reader.get_batch(at)

    def has(self, step: str, number: int) -> bool:
        """Whether there are record batches."""
        return self._path(step, number, "arrow").exists()

    def write_array(self, step: str, number: int, array: np.ndarray) -> None:
        """Stores an array of numbers."""
        with self._written(step, number, "npy") as path, open(path, "wb") as file:
            np.save(file, array, allow_pickle=False)

    def read_array(self, step: str, number: int) -> np.ndarray:
        """An array of `write_array`."""
        return np.load(self._path(step, number, "npy"), allow_pickle=False)

    def has_array(self, step: str, number: int) -> bool:
        """Whether there is an array of numbers."""
        return self._path(step, number, "npy").exists()

    def map_array(self, step: str, number: int) -> np.ndarray:
        """An array of `write_array`, of which only what is looked at is read."""
        array = np.load(self._path(step, number, "npy"), mmap_mode="r", allow_pickle=False)
        return array.view(np.ndarray)

    def write_facts(self, step: str, number: int, facts: Any) -> None:
        """Stores plain values of a step; not flushed to disk, as nothing of a step is."""
        with self._written(step, number, "json") as path:
            path.write_text(json.dumps(facts) + "\n", encoding="utf-8")

    def has_facts(self, step: str, number: int) -> bool:
        """Whether there are facts of a number."""
        return self._path(step, number, "json").exists()

    def read_facts(self, step: str, number: int) -> Any:
        """The facts of one number."""
        return storage.read_json(self._path(step, number, "json"))

    def numbers(self, step: str) -> list[int]:
        """The numbers that have facts of a step."""
        return sorted(int(path.stem.rpartition("-")[2]) for path in self._all(step, "json"))

    def read_all_facts(self, step: str) -> list[Any]:
        """The facts of a step in the order of their numbers."""
        return [self.read_facts(step, number) for number in self.numbers(step)]

    def read_all_arrays(self, step: str) -> Iterator[np.ndarray]:
        """The arrays of a step, in no special order."""
        for path in self._all(step, "npy"):
            yield np.load(path, allow_pickle=False)

    def remove(self, *steps: str) -> None:
        """Removes what steps have left, when no other needs it."""
        for step in steps:
            for ending in ("arrow", "npy"):
                for path in self._all(step, ending):
                    path.unlink(missing_ok=True)

    def steps_of(self, number: int) -> list[str]:
        """Names of the steps that have left an array of this number."""
        return [path.name.rpartition("-")[0] for path in self.directory.glob(f"*-{number:05d}.npy")]

    def remove_number(self, number: int) -> None:
        """Removes all that has this number."""
        for path in self.directory.glob(f"*-{number:05d}.*"):
            path.unlink(missing_ok=True)

    def _all(self, step: str, ending: str) -> Iterator[Path]:
        return self.directory.glob(f"{step}-*.{ending}")

    @contextlib.contextmanager
    def _written(self, step: str, number: int, ending: str) -> Iterator[Path]:
        """A path for a file that gets its name when it is whole."""
        path = self._path(step, number, ending)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
        yield partial
        partial.replace(path)

    def _path(self, step: str, number: int, ending: str) -> Path:
        return self.directory / f"{step}-{number:05d}.{ending}"
