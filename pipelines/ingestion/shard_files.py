"""Files that one ingest step leaves for the next, one set per shard of users.

A step may run in another process or twice; a file appears whole or not at all,
and a second run writes the same content. Imports no TensorFlow and no Beam.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from serving.release import storage


class ShardFiles:
    """Tables and JSON facts by step and shard in one folder.

    The folder must be reachable under one path from every worker.
    """

    def __init__(self, directory: str | Path):
        """Uses `directory`, which exists."""
        self.directory = Path(directory)

    def write_table(self, step: str, shard: int, table: pa.Table) -> None:
        """Stores the table of a step and shard."""
        path = self._path(step, shard, "parquet")
        partial = path.with_suffix(f".{uuid.uuid4().hex[:8]}.partial")
        pq.write_table(table, partial)
        partial.replace(path)

    def read_table(self, step: str, shard: int) -> pa.Table:
        """The table of a step and shard."""
        return pq.read_table(self._path(step, shard, "parquet"))

    def write_facts(self, step: str, shard: int, facts: dict[str, Any]) -> None:
        """Stores plain values of a step and shard."""
        storage.write_json(self._path(step, shard, "json"), facts)

    def shards(self, step: str) -> list[int]:
        """The shards that have facts of a step."""
        return sorted(int(path.stem.rpartition("-")[2]) for path in self._all_facts(step))

    def read_all_facts(self, step: str) -> list[dict[str, Any]]:
        """The facts of a step, shard by shard."""
        return [storage.read_json(path) for path in sorted(self._all_facts(step))]

    def read_all_tables(self, step: str) -> list[pa.Table]:
        """The tables of a step, shard by shard."""
        return [pq.read_table(path) for path in sorted(self.directory.glob(f"{step}-*.parquet"))]

    def _all_facts(self, step: str) -> Iterator[Path]:
        return self.directory.glob(f"{step}-*.json")

    def _path(self, step: str, shard: int, suffix: str) -> Path:
        return self.directory / f"{step}-{shard:05d}.{suffix}"
