"""A log in which random items take the place of training events. Imports no TensorFlow."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.ingestion import sequences
from pipelines.ingestion.events import ordering
from pipelines.ingestion.sequences import PART_LABELS, Part
from pipelines.sources.events import EventSource
from pipelines.synthetic import table_writer
from recall.errors import InputError
from recall.settings.ingest import IngestConfig

_PROTOCOLS = ("leave_one_out", "next_n")
_ORIGIN = b"recall:log"
"""Key of the file's metadata."""

_REDRAWS = 20
"""Attempts to find an item that the user has not held out; with two items or more in the
catalogue beyond those, each fails with half the odds at most."""


def write(
    source: EventSource,
    path: str | Path,
    share: float,
    config: IngestConfig,
    *,
    seed: int,
    max_bad_rows: int = 0,
) -> int:
    """Splits a log, replaces a share of its training events, and writes it with its split.

    Every training event is as likely to be replaced, by an item that is as likely as any other
    and that the user has not held out. The held-out events stay as they are. A larger share
    replaces what a smaller one does and more, by the same items, so that shares are paired.

    Args:
        source: The log.
        path: Parquet file to write, with columns user_id, item_id, timestamp and split.
        share: Of the training events, in [0, 1].
        config: `protocol` and `num_targets` say what is held out.
        seed: Of the choice and the items.
        max_bad_rows: Rows of the log to skip.

    Returns:
        Number of events replaced.

    Raises:
        InputError: The protocol is another one, or the log cannot be read.
    """
    if config.protocol not in _PROTOCOLS:
        raise InputError(
            f"Noise needs ingest.protocol={' or '.join(_PROTOCOLS)}, received {config.protocol}."
        )
    source.use_split = False
    events = pa.Table.from_batches(source.read_batches(max_bad_rows)).combine_chunks()
    order, offsets = _order(events)
    users, items = events["user_id"].take(order), events["item_id"].take(order)
    one = config.protocol == "leave_one_out"
    parts = sequences.hold_out_last(offsets, 1 if one else config.num_targets)
    codes = items.combine_chunks().dictionary_encode()
    rows, number = replace(codes.indices.to_numpy(), offsets, parts, share, seed=seed)
    columns = {
        "user_id": users,
        "item_id": codes.dictionary.take(pa.array(rows)),
        "timestamp": events["timestamp"].take(order),
        "split": pa.array(PART_LABELS).take(pa.array(parts)),
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns, metadata={_ORIGIN: source.fingerprint()}).combine_chunks()
    table_writer.write_batches(path, table.to_batches())
    return number


def read_origin(path: str | Path) -> str | None:
    """Fingerprint of the log that a log with noise was made from; None where it does not tell.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"Cannot read {path}: {error}. Remove it.") from error
    found = metadata.get(_ORIGIN)
    return None if found is None else found.decode()


def replace(
    items: np.ndarray, offsets: np.ndarray, parts: np.ndarray, share: float, *, seed: int
) -> tuple[np.ndarray, int]:
    """Replaces a share of the training events.

    Args:
        items: `[num_events]` int rows of the catalogue, user by user.
        offsets: `[num_users + 1]` of the users.
        parts: `[num_events]` of `Part`.
        share: In [0, 1].
        seed: Of the choice and the items.

    Returns:
        The items afterwards, and how many events were chosen.
    """
    rng = np.random.default_rng(seed)
    trained = rng.permutation(np.flatnonzero(parts == Part.TRAIN))
    num_items = int(items.max()) + 1
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    keys = owners * num_items + items
    held_out = keys[parts != Part.TRAIN]
    drawn = rng.integers(num_items, size=len(trained))
    for _ in range(_REDRAWS):
        wrong = np.isin(owners[trained] * num_items + drawn, held_out)
        drawn[wrong] = rng.integers(num_items, size=int(wrong.sum()))
    number = round(share * len(trained))
    replaced = items.copy()
    replaced[trained[:number]] = drawn[:number]
    return replaced, number


def _order(events: pa.Table) -> tuple[pa.Array, np.ndarray]:
    """Rows of the events user by user, oldest first and each once, and offsets of the users."""
    users = events["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    items = events["item_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    times, rows = events["timestamp"].to_numpy(), events["row"].to_numpy()
    order = ordering.order_events(users, times, rows)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(users))])
    repeated = ordering.find_duplicates(offsets, items[order], times[order])
    kept = order[~repeated]
    return pa.array(kept), np.concatenate([[0], np.cumsum(np.bincount(users[kept]))])
