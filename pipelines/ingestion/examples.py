"""Split sequences -> TFRecord files of `tf.train.Example`."""

import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from pipelines.ingestion import sequences, windows
from pipelines.ingestion.sequences import Part
from recall import features
from recall.vocabulary import FIRST_ITEM_ID

_COMPRESSION_LEVEL = 1
"""Of gzip: twice as fast to write as its default, files 4 % larger (measured)."""

UNBUCKETED = 0
"""Bucket in the names of files whose examples are of any length."""


def split_dir(examples_dir: str | Path, split: str) -> Path:
    """The folder of a split: `Split-train`, `Split-valid` or `Split-test`."""
    return Path(examples_dir) / f"Split-{split}"


def file_name(bucket: int, shard: int, num_shards: int) -> str:
    """Name of an example file.

    >>> file_name(8, 1, 4)
    'examples-00008-00001-of-00004.tfrecord.gz'
    """
    return f"examples-{bucket:05d}-{shard:05d}-of-{num_shards:05d}.tfrecord.gz"


class ShardWriter:
    """Writes the examples of one shard of users."""

    def __init__(self, examples_dir: Path, shard: int, num_shards: int, max_history_length: int):
        """Writes below `examples_dir`, whose split folders exist."""
        self._examples_dir = examples_dir
        self._shard = shard
        self._num_shards = num_shards
        self._max_history_length = max_history_length

    def write(self, events: pa.Table, item_ids: pa.Array) -> dict[str, Any]:
        """Writes all splits; a file without examples is not created.

        Args:
            events: Ordered log with the columns `user_id`, `item_id`, `part`.
            item_ids: The vocabulary, in the order of its dense ids.

        Returns:
            Split -> `files` (name -> number of examples) and `targets` (number
            of events to be predicted).
        """
        dense = pc.index_in(events["item_id"], value_set=item_ids).to_numpy() + FIRST_ITEM_ID
        parts, offsets = events["part"].to_numpy(), sequences.user_offsets(events)
        user_ids = events["user_id"].take(pa.array(offsets[:-1])).cast(pa.binary()).to_pylist()
        facts = {Part.TRAIN.label: self._write_windows(dense, parts, offsets)}
        num_trained = np.diff(sequences.training_offsets(offsets, parts))
        num_trained[num_trained < windows.SHORTEST] = 0
        for part in (Part.VALID, Part.TEST):
            held_out = sequences.hold_out_marked(offsets, parts, part)
            examples = _held_out_examples(held_out, dense, user_ids, num_trained)
            name, count = self._write_file(part.label, UNBUCKETED, examples)
            files = {name: count} if count else {}
            facts[part.label] = {"files": files, "targets": len(held_out.positives)}
        return facts

    def _write_windows(
        self, dense: np.ndarray, parts: np.ndarray, offsets: np.ndarray
    ) -> dict[str, Any]:
        """Writes the training windows, one file per length bucket."""
        learnt = dense[parts == Part.TRAIN]
        cut = windows.cut_windows(
            sequences.training_offsets(offsets, parts), self._max_history_length
        )
        num_slots = cut.stops - cut.starts - 1
        boundaries = windows.bucket_boundaries(self._max_history_length)
        buckets = windows.bucket_of(num_slots, boundaries)
        files = {}
        for bucket in np.unique(buckets).tolist():
            here = np.flatnonzero(buckets == bucket)
            ranges = zip(cut.starts[here].tolist(), cut.stops[here].tolist(), strict=True)
            examples = (train_example(learnt[start:stop]) for start, stop in ranges)
            name, count = self._write_file(Part.TRAIN.label, bucket, examples)
            files[name] = count
        return {"files": files, "targets": int(num_slots.sum())}

    def _write_file(self, split: str, bucket: int, examples: Iterable[bytes]) -> tuple[str, int]:
        """Writes one file, if there is an example, and counts its examples."""
        name, count = file_name(bucket, self._shard, self._num_shards), 0
        path = split_dir(self._examples_dir, split) / name
        partial = path.with_name(f".{name}.{uuid.uuid4().hex[:8]}.partial")
        options = tf.io.TFRecordOptions("GZIP", compression_level=_COMPRESSION_LEVEL)
        with tf.io.TFRecordWriter(str(partial), options) as writer:
            for record in examples:
                writer.write(record)
                count += 1
        if count:
            partial.replace(path)
        else:
            partial.unlink()
        return name, count


def train_example(item_ids: np.ndarray) -> bytes:
    """A serialised training window of dense ids, `[length]`, oldest first."""
    return _serialize({features.ITEM_IDS: item_ids})


def held_out_example(
    user_id: bytes, history: np.ndarray, positives: np.ndarray, num_trained: int = 0
) -> bytes:
    """A serialised prediction task: raw user id, dense history and positives, events learnt."""
    lists = {
        features.HISTORY: history,
        features.POSITIVES: positives,
        features.NUM_TRAINED: np.array([num_trained]),
    }
    return _serialize(lists, user_id)


def _serialize(id_lists: dict[str, np.ndarray], user_id: bytes | None = None) -> bytes:
    example = tf.train.Example()
    feature = example.features.feature
    for name, ids in id_lists.items():
        feature[name].int64_list.value.extend(ids.tolist())
    if user_id is not None:
        feature[features.USER_ID].bytes_list.value.append(user_id)
    return example.SerializeToString(deterministic=True)


def _held_out_examples(
    held_out: sequences.HeldOutTasks,
    dense: np.ndarray,
    user_ids: list[bytes],
    num_trained: np.ndarray,
) -> Iterator[bytes]:
    starts, stops = held_out.histories
    positives = dense[held_out.positives]
    for task, user in enumerate(held_out.users.tolist()):
        first, last = held_out.positive_offsets[task : task + 2]
        history = dense[starts[task] : stops[task]]
        yield held_out_example(
            user_ids[user], history, positives[first:last], int(num_trained[user])
        )
