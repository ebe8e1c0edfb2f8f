"""`recall features`: reads the columns of files and proposes the section `features`.

Imports no TensorFlow.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.proposals import columns
from pipelines.proposals.columns import Proposal
from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.column_types import is_text
from pipelines.sources.columns.event_times import EventTimes
from pipelines.sources.columns.time_units import FIRST_TIME_S
from pipelines.sources.items import ItemsFile
from pipelines.sources.tables import table_files
from pipelines.sources.tables.text_format import DEFAULT_TEXT, TextOptions
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.attributes import CATEGORY_NAMES, TAKEN_NAMES
from recall.feature_columns.declaration import OWNERS_OF_LOG, TAKEN_PREFIXES
from recall.feature_columns.fitting import ROWS_OF_PARTS
from recall.settings.ingest import IMPRESSION

_MOST_EVENTS = 200_000
"""Rows of a log that are looked at: the first ones."""

_OF_EVENTS = (
    "  These are features of clicks, seen once a click is past. What is known before a click and "
    "a request can say (a device, a place) may be of owner request instead, or as well."
)
_OF_ITEMS = (
    "  Requests can filter on all of these that are names, numbers or times. A column that only "
    "requests filter on (a shop, a licence) belongs into features.attributes instead."
)
_TIME = "when"
"""Name of the feature that is made of the times of clicks."""

_USUAL_NAMES = {"title": "title_words", "category": "categories"}


class ColumnsFile(NamedTuple):
    """A file whose columns may be features.

    Attributes:
        owner: `item`, `user` or `event`.
        path: Of the file.
        left_out: Columns that are ids, or used otherwise.
        options: How text files are written.
        max_rows: Rows that are looked at; None for all.
        time_column: Of a log, its column of times.
        sources: Column -> what a feature names as its column instead.
    """

    owner: str
    path: str
    left_out: Sequence[str]
    options: TextOptions = DEFAULT_TEXT
    max_rows: int | None = None
    sources: Mapping[str, str] = {}
    time_column: str = ""


class Proposed(NamedTuple):
    """What was found in one file.

    Attributes:
        table: The file.
        proposals: One per column.
    """

    table: ColumnsFile
    proposals: list[Proposal]


def tables_of(
    items: ItemsFile | None,
    users: str | None,
    events: str | None,
    event_columns: Sequence[str],
    text: TextOptions = DEFAULT_TEXT,
) -> list[ColumnsFile]:
    """The files that are looked at.

    Args:
        items: The items file.
        users: Path of the users file.
        events: Path of the log.
        event_columns: Columns of the log that are no features: ids of users and of items,
            times, and others.
        text: How the log, in text, is written.

    Raises:
        InputError: There is no file.
    """
    found = []
    if items is not None:
        fields = {items.columns.title: "title"}
        if "," not in items.columns.category:
            fields[items.columns.category] = CATEGORY_NAMES
        found.append(
            ColumnsFile("item", items.path, [items.columns.item_id], items.options, None, fields)
        )
    if users is not None:
        found.append(ColumnsFile("user", users, event_columns[:1]))
    if events is not None:
        if events.partition(":")[0] in ("tfds", "mind", "synthetic"):
            raise InputError(
                f"--events={events} has no columns beside the usual ones. Leave it out."
            )
        _, _, time, *_ = event_columns
        left_out = [column for column in event_columns if column != time]
        found.append(ColumnsFile("event", events, left_out, text, _MOST_EVENTS, time_column=time))
    if not found:
        raise InputError("No file is named. Pass --items, --users or --events.")
    return found


def propose(table: ColumnsFile) -> Proposed:
    """Looks at every column of a file.

    Raises:
        InputError: It cannot be read, or lacks the column of its ids.
    """
    values = _read(table)
    taken = {*TAKEN_NAMES}
    proposals = []
    times = values.pop(table.time_column, None)
    fields = {table.sources[column] for column in values if column in table.sources}
    for column, array in values.items():
        source = table.sources.get(column, column)
        if column not in table.sources and column in fields:
            proposals.append(_hidden(column, array))
            continue
        name = _name(_USUAL_NAMES.get(source, source), taken)
        taken.add(name)
        guessed = columns.guess_time(name, source, array) if table.owner == "item" else None
        if guessed is None:
            guessed = columns.guess(name, source, array)
        if table.owner in OWNERS_OF_LOG:
            guessed = _of_log(_with_kinds(guessed, array))
        proposals.append(guessed)
    if times is not None and _are_times(times, table):
        proposals.append(_propose_times(_name(_TIME, taken), table.time_column, times))
    return Proposed(table, proposals)


def to_settings(found: Iterable[Proposed]) -> dict[str, Any]:
    """The section as `--config` takes it.

    Raises:
        InputError: Two files propose a feature of one name.
    """
    declared, attributes, owner_of = [], [], {}
    for table, proposals in found:
        for proposal in proposals:
            if not proposal.values:
                continue
            name = proposal.name
            if name in owner_of:  # Such as the region of an item and of a user.
                name = f"{table.owner}_{name}"
            owner_of[name] = table.owner
            if proposal.is_attribute:
                attribute = {"name": name, **proposal.values}
                if proposal.column != name:
                    attribute["column"] = proposal.column
                attributes.append(attribute)
                continue
            column = {"name": name, "owner": table.owner, **proposal.values}
            if proposal.column != name and proposal.values["kind"] != "timestamp":
                column["column"] = proposal.column
            declared.append(column)
    settings = {"features": {"columns": declared}}
    if attributes:
        settings["features"]["attributes"] = attributes
    RecallConfig.from_dict(settings)
    return settings


def to_lines(found: Iterable[Proposed], config: RecallConfig) -> list[str]:
    """What was seen, a line for each column, for people."""
    lines = []
    for table, proposals in found:
        num_rows = proposals[0].num_rows if proposals else 0
        lines.append(f"{table.owner}: {table.path}, {num_rows:,} rows")
        for one in proposals:
            missing = f"{one.num_missing / max(one.num_rows, 1):.1%} missing"
            if not one.values:
                lines.append(f"  {one.column:<20} left out: it {one.reason} ({missing})")
                continue
            parameters = ", ".join(f"{k}={v}" for k, v in one.values.items() if k != "kind")
            is_wide = table.owner == "item" and one.values["kind"] != "text"
            dim = config.model.dim if is_wide else config.features.embedding_dim
            cost = f"{one.embedding_rows:,} x {dim} numbers to learn" if one.embedding_rows else ""
            parts = [f"{one.num_distinct:,} values"] if one.num_distinct else []
            use = "for requests to filter on, no feature" if one.is_attribute else ""
            why = f" ({one.note})" if one.note else ""
            parts += [missing, f"{parameters}{why}".strip(), cost, use]
            if table.owner in OWNERS_OF_LOG and one.embedding_rows:
                parts.append("a look-up for each click of a step")
            lines.append(
                f"  {one.name:<20} {one.values['kind']:<12} {'; '.join(filter(None, parts))}"
            )
        if table.owner == "item" and any(one.values for one in proposals):
            lines.append(_OF_ITEMS)
        if table.owner in OWNERS_OF_LOG and any(one.values for one in proposals):
            lines.append(_OF_EVENTS)
    return lines


def _read(table: ColumnsFile) -> dict[str, pa.ChunkedArray]:
    """Column -> its values, of those that all files have."""
    parts: dict[str, list[pa.Array]] = {}
    num_rows = 0
    opened = table_files.open_tables(table.path, table.options)
    common = [n for n in opened[0].names if all(n in other.names for other in opened)]
    for file in opened:
        file.require(table.left_out[:1])
        names = [name for name in common if name not in table.left_out]
        for _, batch in file.read_rows(names, BadRows()) if names else ():
            for name in names:
                values = batch[name]
                if name in file.lists:
                    values = pa.compute.split_pattern(values, " ")
                parts.setdefault(name, []).append(values)
            num_rows += batch.num_rows
            if table.max_rows is not None and num_rows >= table.max_rows:
                break
    return {name: pa.chunked_array(arrays) for name, arrays in parts.items()}


def _with_kinds(proposal: Proposal, array: pa.ChunkedArray) -> Proposal:
    """The same; of a column that says of some rows that an item was only shown, with a note."""
    array = array.cast(pa.string()) if is_text(array.type) else None
    if array is None or not pa.compute.any(pa.compute.equal(array, IMPRESSION)).as_py():
        return proposal
    note = (
        f"{IMPRESSION!r} counts as a click but with --event_type_column={proposal.column} of "
        "`recall run`"
    )
    return proposal._replace(note=note)


def _of_log(proposal: Proposal) -> Proposal:
    """The same as a feature of clicks, which have one name or one number."""
    kind = proposal.values.get("kind")
    if kind in (None, "numeric") or (kind == "categorical" and "max_values" not in proposal.values):
        return proposal
    reason = "has several values in a row" if kind == "categorical" else f"is a {kind}"
    return proposal._replace(values={}, reason=f"{reason}, and a click takes one name or number")


def _hidden(column: str, array: pa.ChunkedArray) -> Proposal:
    """A column whose name means another one: a feature could not name it."""
    reason = f"cannot be named: a feature of {column!r} is of the column that a flag names"
    return Proposal(column, column, {}, len(array), array.null_count, 0, reason=reason)


def _are_times(array: pa.ChunkedArray, table: ColumnsFile) -> bool:
    """Whether a column of times has more than an order."""
    array = array.combine_chunks()
    try:
        times = EventTimes(table.time_column, "auto", "")
        seconds = times.to_seconds(array, table.path, np.arange(len(array)))
    except InputError:  # `recall ingest` says how such a file is read.
        return False
    seconds = seconds[np.isfinite(seconds)]
    return bool(len(seconds)) and bool((seconds >= FIRST_TIME_S).all())


def _propose_times(name: str, column: str, array: pa.ChunkedArray) -> Proposal:
    values = {"kind": "timestamp"}
    rows = sum(ROWS_OF_PARTS.values())
    return Proposal(name, column, values, len(array), array.null_count, 0, rows)


def _name(column: str, taken: set[str]) -> str:
    """A name that a feature may have, near to that of its column."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", column).strip("_") or "feature"
    if not name[0].isalpha():
        name = f"f_{name}"
    name = name[:50]
    if name.startswith(TAKEN_PREFIXES):
        name = f"f_{name}"
    if name not in taken:
        return name
    return next(f"{name}_{n}" for n in range(2, len(taken) + 3) if f"{name}_{n}" not in taken)
