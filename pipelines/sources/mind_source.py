"""The behaviours of the MIND news data (`behaviors.tsv`) as a source of events.

A row is one page a user was shown: an id, the user, the time, the user's clicks
before the log began, oldest first, and the articles shown, `N1-1` where clicked
and `N2-0` where not. Imports no TensorFlow.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns.bad_rows import BadRow, BadRows
from pipelines.sources.columns.time_texts import parse_form
from pipelines.sources.columns.where import Condition
from pipelines.sources.events import DEFAULT_COLUMNS, EventSource, RawBatch
from pipelines.sources.tables import table_files
from pipelines.sources.tables.text_format import TextOptions
from recall.errors import InputError
from recall.settings.ingest import IMPRESSION

_COLUMNS = ("impression_id", "user_id", "time", "history", "impressions")
_TIME_FORMAT = "%m/%d/%Y %I:%M:%S %p"
_CLICK = "click"
_IMPRESSION = r"^\S+-[01](\s+\S+-[01])*$"


class MindSource(EventSource):
    """Reads `mind:PATH`, files in the layout of MIND's behaviors.tsv.

    The articles clicked on a page are events at the time of the page. The
    history stands in every row of its user; it is read from the first one, as
    events at time 0, of which the file says no more than their order. With kinds of
    events, the articles of a page that were not clicked are impressions before its clicks.

    Attributes:
        files: The files read.
    """

    def __init__(self, spec: str, where: Sequence[Condition] = (), *, with_kinds: bool = False):
        """Looks at the first line of every file.

        Args:
            spec: `mind:` and a path.
            where: Must be empty.
            with_kinds: Whether events have the kinds `click` and `impression`.

        Raises:
            InputError: There is no such file, it has another layout, or `where`
                names a column.
        """
        super().__init__(spec)
        if with_kinds:
            self.columns = self.columns._replace(event_type="event_type")
        if where:
            raise InputError(
                f"{spec} has no column {where[0].column!r} for --where: its events are the clicks."
            )
        text = TextOptions(columns=_COLUMNS, separator="\t", quoting=False)
        self._tables = table_files.open_tables(spec.removeprefix("mind:"), text)
        self.files = [table.path for table in self._tables]

    def fingerprint(self) -> str:
        """SHA-256 over the bytes of the files."""
        kinds = ["impressions"] if self.columns.event_type else []
        return table_files.fingerprint(self.files, ["mind", *kinds])

    def _raw_batches(self, bad_rows: BadRows) -> Iterator[RawBatch]:
        users: set[str] = set()
        num_rows = 0
        for table in self._tables:
            for rows, batch in table.read_rows(list(_COLUMNS[1:]), bad_rows):
                file = str(table.path)
                times = parse_form(batch["time"], _TIME_FORMAT)
                good = pa.array(_find_good(batch, times, rows, file, bad_rows))
                with_kinds = bool(self.columns.event_type)
                columns = _explode(batch.filter(good), times.filter(good), users, with_kinds)
                size = len(columns["user_id"])
                # An event has no row of its own; its number is its place among all.
                yield RawBatch(columns, np.arange(num_rows, num_rows + size), file, num_rows)
                num_rows += size


def _find_good(
    batch: pa.RecordBatch, times: pa.Array, rows: np.ndarray, file: str, bad_rows: BadRows
) -> np.ndarray:
    """`[n]` bool, the rows that are pages shown; the others are counted."""
    kept = np.ones(batch.num_rows, bool)
    whole = pc.match_substring_regex(batch["impressions"], _IMPRESSION)
    for column, good, reason in (
        ("time", pc.is_valid(times), "a time as 11/11/2019 9:05:58 AM is wanted"),
        ("impressions", whole, "articles as N123-1 N456-0 are wanted"),
    ):
        wrong = np.flatnonzero(kept & ~good.to_numpy(zero_copy_only=False))
        kept[wrong] = False
        if len(wrong):
            at = int(wrong[0])
            value = batch[column][at].as_py()
            row = int(rows[at]) + 1
            bad_rows.add(reason, BadRow(len(wrong), file, row, column, value))
    return kept


def _explode(
    batch: pa.RecordBatch, times: pa.Array, users: set[str], with_kinds: bool
) -> dict[str, pa.Array]:
    """Rows of pages -> events; adds the users whose history is read to `users`."""
    events: list[tuple[str, str, float, str]] = []
    pages = zip(
        batch["user_id"].to_pylist(),
        times.to_pylist(),
        batch["history"].to_pylist(),
        batch["impressions"].to_pylist(),
        strict=True,
    )
    for user, time_s, history, impressions in pages:
        if user not in users:
            users.add(user)
            events += [(user, item, 0.0, _CLICK) for item in history.split()]
        marks = {_CLICK: "-1"}
        if with_kinds:  # In the order of the log a page is seen before it is clicked.
            marks = {IMPRESSION: "-0", **marks}
        for kind, mark in marks.items():
            items = (shown[:-2] for shown in impressions.split() if shown.endswith(mark))
            events += [(user, item, time_s, kind) for item in items]
    user_ids, item_ids, times_s, kinds = zip(*events, strict=True) if events else [()] * 4
    columns = {
        DEFAULT_COLUMNS.user_id: pa.array(user_ids, pa.string()),
        DEFAULT_COLUMNS.item_id: pa.array(item_ids, pa.string()),
        DEFAULT_COLUMNS.timestamp: pa.array(map(int, times_s), pa.timestamp("s")),
    }
    return columns | ({"event_type": pa.array(kinds, pa.string())} if with_kinds else {})
