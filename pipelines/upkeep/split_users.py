"""The split of users who change, as it was and as it is, and what both mean for the counts.

Imports no TensorFlow and no Beam.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.ingestion import sequences, splitting, windows
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import log_features
from pipelines.ingestion.sequences import Part, Sequences
from recall.config import RecallConfig

BEFORE, NOW = "before", "now"
"""Names of the facts that `write` leaves."""
FREQUENT = {BEFORE: "frequent_before", NOW: "frequent_now"}
"""Names of the arrays of the items that are kept, for all shards (0)."""

_HELD_BACK = tuple(part for part in Part if part != Part.TRAIN)


def open_splitter(
    files: ShardFiles, name: str, config: RecallConfig, item_ids: pa.StringArray
) -> splitting.Splitter:
    """Splits as it was (`BEFORE`) or is (`NOW`): what differs are the items that are kept."""
    return splitting.Splitter(config.ingest, None, files.read_array(FREQUENT[name], 0), item_ids)


def write(
    files: ShardFiles,
    name: str,
    shard: int,
    config: RecallConfig,
    item_ids: pa.StringArray,
    log: Sequences,
) -> Sequences:
    """Splits the sequences of some users of a shard; leaves facts and counts by item.

    Args:
        files: Of the work.
        name: `BEFORE` or `NOW`.
        shard: Of the users.
        config: The settings.
        item_ids: `[num_items]` the catalogue.
        log: The sequences.

    Returns:
        The events that are kept, with their parts.
    """
    log, facts = open_splitter(files, name, config, item_ids).split(log)
    facts["train_targets"] = _count_targets(log, config)
    features = config.features.of_log
    learnt = None if log.values is None else log.values[log.parts == Part.TRAIN]
    counts = log_features.count(features, learnt)
    log_features.write_counts(files, f"{log_features.VALUE_COUNTS}_{name}", shard, counts)
    files.write_facts(name, shard, facts)
    if len(log.items):
        # Nearly all events are learnt: only the others are looked at by part.
        others = np.flatnonzero(log.parts != Part.TRAIN)
        codes = log.items[others] + np.int64(len(item_ids)) * log.parts[others]
        codes, counts = np.unique(codes, return_counts=True)
        files.write_array(_all(name), shard, _count(log.items, len(item_ids)))
        files.write_array(_others(name), shard, np.stack([codes, counts]))
    return log


def sum_parts(files: ShardFiles, num_items: int) -> dict[Part, np.ndarray]:
    """Part -> `[num_items]`, how many more of its events each item has now, in all shards."""
    changes = np.zeros((len(Part), num_items), np.int64)
    for sign, name in ((-1, BEFORE), (1, NOW)):
        for counts in files.read_all_arrays(_all(name)):
            changes[Part.TRAIN] += sign * counts
        for codes, counts in files.read_all_arrays(_others(name)):
            changes.reshape(-1)[codes] += sign * counts
    changes[Part.TRAIN] -= changes[list(_HELD_BACK)].sum(axis=0)
    return {part: changes[part] for part in Part}


def write_change(
    files: ShardFiles,
    name: str,
    shard: int,
    now: np.ndarray,
    before: np.ndarray,
    num_items: int,
) -> None:
    """Stores how much more often each item occurs; nothing where there is nothing."""
    if len(now) or len(before):
        files.write_array(name, shard, _count(now, num_items) - _count(before, num_items))


def sum_changes(files: ShardFiles, name: str) -> np.ndarray | int:
    """`[num_items]`, the sum of a count's changes in all shards; 0 where there are none."""
    return sum(change.astype(np.int64) for change in files.read_all_arrays(name))


def read_facts(files: ShardFiles) -> list[dict[str, Any]]:
    """Of each shard the facts of both splits, `BEFORE` and `NOW`."""
    both = zip(files.read_all_facts(BEFORE), files.read_all_facts(NOW), strict=True)
    return [{BEFORE: before, NOW: now} for before, now in both]


def _all(name: str) -> str:
    return f"{name}_events"


def _others(name: str) -> str:
    return f"{name}_not_learnt"


def _count(items: np.ndarray, num_items: int) -> np.ndarray:
    return sequences.count_items(items, num_items).astype(np.int32)


def _count_targets(log: Sequences, config: RecallConfig) -> int:
    offsets = sequences.training_offsets(log.offsets, log.parts)
    if config.features.of("user"):  # Each of these has a slot before the first one.
        offsets = offsets + np.cumsum(np.concatenate([[0], _has_start(log)]))
    length, stride = config.model.max_history_length, config.ingest.window_stride
    cut = windows.cut_windows(offsets, length, stride)
    return int((cut.stops - cut.starts - 1).sum())


def _has_start(log: Sequences) -> np.ndarray:
    """`[num_users]` whether the slot before the first event is learnt (`user_rows.add_starts`)."""
    return log.parts[log.offsets[:-1]] != Part.CONTEXT
