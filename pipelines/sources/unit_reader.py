"""Reads one unit of a log, and adds up what the readers of all units found.

The sum is what one reader of the whole log would have said, to the letter: which
row is the first bad one, which file has times of two forms. Imports no TensorFlow.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.event_checks import check_rows
from pipelines.sources.events import EventSource
from pipelines.sources.work_units import UnitPart, WorkUnit
from recall.errors import InputError

ROW_BITS = 40
"""A row is numbered by its file and, in so many bits, its place in the file, until the rows
of all files are counted: `file << ROW_BITS | row`."""


class UnitReader:
    """Reads the events of one unit.

    Attributes:
        facts: What was found, as plain values, once the batches are used up.
    """

    def __init__(self, source: EventSource, unit: WorkUnit, max_bad_rows: int):
        """Reads nothing yet.

        Args:
            source: The log.
            unit: Of `source.work_units()`.
            max_bad_rows: As for `EventSource.read_batches`.
        """
        self._source, self._unit, self._max_bad_rows = source, unit, max_bad_rows
        self.facts: list[dict[str, Any]] = []
        self._share_done = 0.0

    @property
    def share_read(self) -> float | None:
        """Share of the log up to here, in [0, 1]; None where nobody knows."""
        share = self._source.share_read
        if share is None or not self._unit.parts:
            return share
        return self._unit.share_before + min(1.0, self._share_done + share) * self._unit.share

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Streams the columns of an event; ids may be dictionaries.

        A fault of the log ends the stream; `facts` tells of it.
        """
        for part in self._unit.parts or (None,):
            facts = {"events": 0, "error": None}
            self.facts.append(facts)
            read = self._read_whole(facts) if part is None else self._read_part(part, facts)
            try:
                for batch in read:
                    facts["events"] += batch.num_rows
                    yield batch
            except InputError as error:
                facts["error"] = str(error)
                return
            self._share_done += 1 / max(1, len(self._unit.parts))

    def _read_whole(self, facts: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        yield from self._source.read_batches(self._max_bad_rows)
        bad_rows = self._source.bad_rows
        facts |= {
            "left_out": self._source.rows_left_out,
            "bad": bad_rows.to_dict(),
            "times": self._source.times,
        }

    def _read_part(self, part: UnitPart, facts: dict[str, Any]) -> Iterator[pa.RecordBatch]:
        source, bad_rows = self._source, BadRows(self._max_bad_rows)
        source.rows_left_out = source.rows_read = 0
        times = source.new_times(is_part=True)
        is_first = True
        facts |= {"file": part.file}
        try:
            for raw in source.raw_part(part, bad_rows):
                if is_first and part.time_form is not None:
                    times.start_in(raw.file, part.time_form)
                is_first = False
                batch = check_rows(
                    raw, source.columns, source.options, bad_rows, times, source.features
                )
                bad_rows.check()
                if batch.num_rows:
                    yield _number_rows(batch, part.file)
            bad_rows.check()
        finally:
            facts |= {
                "rows": source.rows_read,
                "left_out": source.rows_left_out,
                "bad": bad_rows.to_dict(),
                "times": times.part(),
            }


def _number_rows(batch: pa.RecordBatch, file: int) -> pa.RecordBatch:
    rows = batch["row"].to_numpy() | (np.int64(file) << ROW_BITS)
    return batch.set_column(batch.schema.names.index("row"), "row", pa.array(rows))


def merge_facts(
    source: EventSource, facts: Sequence[Sequence[dict[str, Any]]], max_bad_rows: int
) -> dict[str, Any]:
    """Adds up the facts of all units, in the order of the log.

    Args:
        source: The log.
        facts: `UnitReader.facts` of each unit.
        max_bad_rows: As it was for the readers.

    Returns:
        `events_read`, `left_out_by_where`, `bad_rows`, `times`, and `first_rows`: number
        in the log of the first row of each file, [] where the rows are numbered so already.

    Raises:
        InputError: What one reader of the whole log would raise.
    """
    parts = list(itertools.chain.from_iterable(facts))
    bad_rows, times = BadRows(max_bad_rows), source.new_times()
    for part in parts:
        bad_rows.merge(part.get("bad", {}))
        bad_rows.check()
        if part["error"] is not None:
            raise InputError(part["error"])
        if "file" in part and part["times"]["findings"]["file"]:
            times.merge(part["times"])
    times.check()
    num_events = sum(part["events"] for part in parts)
    left_out = sum(part["left_out"] for part in parts)
    if num_events == 0:
        raise source.no_events(bad_rows.total, left_out)
    is_whole = "file" not in parts[0]
    return {
        "events_read": num_events,
        "left_out_by_where": left_out,
        "bad_rows": {"rows": bad_rows.total, "reasons": bad_rows.to_dict()},
        "times": parts[0]["times"] if is_whole else times.findings.to_dict(),
        "first_rows": [] if is_whole else _first_rows(parts),
    }


def _first_rows(parts: Sequence[dict[str, Any]]) -> list[int]:
    """Number in the log of the first row of each file."""
    sizes: dict[int, int] = {}
    for part in parts:
        sizes[part["file"]] = max(sizes.get(part["file"], 0), part["rows"])
    counts = [sizes.get(file, 0) for file in range(max(sizes) + 1)]
    return [0, *itertools.accumulate(counts[:-1])]
