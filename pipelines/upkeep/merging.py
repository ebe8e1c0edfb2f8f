"""Ordered logs of the same users, joined into one. Pure functions over numpy and Arrow."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion.events import ordering
from pipelines.ingestion.sequences import Sequences


def concatenate(logs: list[Sequences]) -> Sequences:
    """Users of several logs one after the other, as they come; without rows."""
    logs = [log for log in logs if len(log.user_ids)] or logs[:1]
    sizes = np.concatenate([np.diff(log.offsets) for log in logs])
    columns = zip(*(log._replace(rows=None)[2:] for log in logs), strict=True)
    return Sequences(
        pa.concat_arrays([log.user_ids for log in logs]),
        np.concatenate([[0], np.cumsum(sizes)]),
        *(None if column[0] is None else np.concatenate(column) for column in columns),
    )


def merge(logs: list[Sequences]) -> Sequences:
    """One ordered log of several; at equal times the events of an earlier one come first."""
    joined = concatenate(logs)
    encoded = joined.user_ids.dictionary_encode()
    by_text = pc.sort_indices(encoded.dictionary)
    ranks = np.empty(len(by_text), np.int64)
    ranks[by_text.to_numpy()] = np.arange(len(by_text))
    owners, lengths = ranks[encoded.indices.to_numpy()], np.diff(joined.offsets)
    # A user of several logs is there several times: whole sequences are sorted, not events.
    runs = np.argsort(owners, kind="stable")
    ends = np.cumsum(lengths[runs])
    order = np.repeat(joined.offsets[runs] - (ends - lengths[runs]), lengths[runs])
    order += np.arange(len(order))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owners, lengths, len(by_text)))])
    offsets, times = offsets.astype(np.int64), joined.timestamps[order]
    earlier = np.flatnonzero(times[1:] < times[:-1]) + 1
    if not np.isin(earlier, offsets).all():  # Events of a day before come late.
        rows = np.arange(len(order))
        order = ordering.order_events(np.repeat(owners, lengths), joined.timestamps, rows)
    return Sequences(
        encoded.dictionary.take(by_text),
        offsets,
        *(None if column is None else column[order] for column in joined[2:]),
    )
