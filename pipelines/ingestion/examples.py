"""Split sequences -> TFRecord files of `tf.train.Example`. Imports no TensorFlow."""

import contextlib
import itertools
import uuid
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.ingestion import sequences, windows
from pipelines.ingestion.encoding import example_records
from pipelines.ingestion.encoding.byte_columns import Ranges
from pipelines.ingestion.encoding.example_records import Feature
from pipelines.ingestion.encoding.number_lists import Numbers
from pipelines.ingestion.events import event_features, ordering
from pipelines.ingestion.events.event_features import NO_VALUES, EventValues
from pipelines.ingestion.sequences import Part
from pipelines.ingestion.splits import HELD_OUT

# Feature names as in `recall.features`, which imports TensorFlow; a test compares the two.
_ITEM_IDS, _USER_ID = "item_ids", "user_id"
_HISTORY, _POSITIVES, _NUM_TRAINED = "history", "positives", "num_trained"

_COMPRESSION_LEVEL = 1
"""Of gzip: twice as fast to write as its default, files 4 % larger (measured)."""
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_MEMORY_LEVEL = 9
"""Its highest: 8 % less time than the usual 8 for files of the same size (measured)."""

_CHUNK_BYTES = 4 << 20
"""Of examples made at a time; a single one may be longer."""

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

    def __init__(
        self,
        examples_dir: Path,
        shard: int,
        num_shards: int,
        max_history_length: int,
        window_stride: int | None = None,
        compression_level: int = _COMPRESSION_LEVEL,
    ):
        """Writes below `examples_dir`, whose split folders exist.

        Attributes:
            owners: Split and bucket of a file -> `[num_examples]` the user of each example.
        """
        self._examples_dir = examples_dir
        self._shard = shard
        self._num_shards = num_shards
        self._max_history_length = max_history_length
        self._window_stride, self._compression_level = window_stride, compression_level
        self.owners: dict[tuple[str, int], np.ndarray] = {}

    def write(
        self,
        user_ids: pa.StringArray,
        offsets: np.ndarray,
        dense: np.ndarray,
        parts: np.ndarray,
        columns: EventValues = NO_VALUES,
    ) -> dict[str, Any]:
        """Writes all splits; a file without examples is not created.

        Args:
            user_ids: `[num_users]` raw ids.
            offsets: `[num_users + 1]` of the events of each user.
            dense: `[num_events]` dense ids of the items, oldest first.
            parts: `[num_events]` int8 of `Part`.
            columns: What else is known of the events.

        Returns:
            Split -> `files` (name -> number of examples) and `targets` (number
            of events to be predicted).
        """
        numbers = Numbers.of(dense)
        facts = {Part.TRAIN.label: self._write_windows(numbers, dense, parts, offsets, columns)}
        num_trained = np.diff(sequences.training_offsets(offsets, parts))
        num_trained[num_trained < windows.SHORTEST] = 0
        if columns.user_rows is not None:  # The slot before the first event is none.
            num_trained = np.maximum(num_trained - 1, 0)
        tasks = {p: sequences.hold_out_marked(offsets, parts, p) for p in HELD_OUT}
        starts, stops = (
            np.concatenate([task.histories[side] for task in tasks.values()]) for side in (0, 1)
        )
        users = np.concatenate([task.users for task in tasks.values()])
        positives = np.concatenate([task.positives for task in tasks.values()])
        sizes = np.concatenate([np.diff(task.positive_offsets) for task in tasks.values()])
        positive_offsets = np.concatenate([[0], np.cumsum(sizes)])
        features = held_out_features(
            user_ids.take(pa.array(users)),
            numbers.ranges(starts, stops),
            Numbers.of(dense[positives]),
            positive_offsets,
            num_trained[users],
        )
        features |= event_features.of_tasks(
            columns, users, (starts, stops), positives, positive_offsets
        )
        owners = {(part.label, UNBUCKETED): task.users for part, task in tasks.items()}
        counts = self._write_files(owners, features)
        for (part, task), files in zip(tasks.items(), counts.values(), strict=True):
            facts[part.label] = {"files": files, "targets": len(task.positives)}
        return facts

    def _write_windows(
        self,
        numbers: Numbers,
        dense: np.ndarray,
        parts: np.ndarray,
        offsets: np.ndarray,
        columns: EventValues,
    ) -> dict[str, Any]:
        """Writes the training windows, one file per length bucket."""
        learnt = np.flatnonzero(parts == Part.TRAIN)
        training_offsets = sequences.training_offsets(offsets, parts)
        cut = windows.cut_windows(training_offsets, self._max_history_length, self._window_stride)
        users = np.searchsorted(training_offsets, cut.starts, side="right") - 1
        num_slots = cut.stops - cut.starts - 1
        # Training events of a user mostly stand together: then their numbers are there.
        begins, ends = learnt[cut.starts], learnt[cut.stops - 1]
        if np.array_equal(ends - begins, num_slots):
            starts, stops = begins, ends + 1
        else:
            numbers, (starts, stops) = Numbers.of(dense[learnt]), cut
        boundaries = windows.bucket_boundaries(self._max_history_length)
        buckets = windows.bucket_of(num_slots, boundaries)
        order = ordering.order_by_code(buckets)
        features = {_ITEM_IDS: numbers.ranges(starts[order], stops[order])}
        features |= event_features.of_windows(
            columns, learnt, (cut.starts[order], cut.stops[order]), users[order]
        )
        found, first = np.unique(buckets[order], return_index=True)
        owners = np.split(users[order], first[1:])
        labels = [(Part.TRAIN.label, bucket) for bucket in found.tolist()]
        counts = self._write_files(dict(zip(labels, owners, strict=False)), features)
        files = {name: count for one in counts.values() for name, count in one.items()}
        return {"files": files, "targets": int(num_slots.sum())}

    def _write_files(
        self, owners: Mapping[tuple[str, int], np.ndarray], features: Mapping[str, Feature]
    ) -> dict[tuple[str, int], dict[str, int]]:
        """Writes examples into one file after the other, as many as each has owners.

        Returns:
            Split and bucket -> name of the file and number of examples, if there are any.
        """
        self.owners |= owners
        names = {at: file_name(at[1], self._shard, self._num_shards) for at in owners}
        sizes = {
            split_dir(self._examples_dir, at[0]) / names[at]: len(users)
            for at, users in owners.items()
            if len(users)
        }
        write_records(sizes, features, self._compression_level)
        return {at: {names[at]: len(users)} if len(users) else {} for at, users in owners.items()}


def write_records(
    sizes: Mapping[Path, int],
    features: Mapping[str, Feature],
    compression_level: int = _COMPRESSION_LEVEL,
) -> None:
    """Writes examples as compressed TFRecord files, each of which appears whole or not at all.

    Args:
        sizes: File -> how many of the examples it holds, the first ones in the first file.
        features: Of all examples. They are made together, which for many small files is
            most of the time.
        compression_level: Of zlib.
    """
    waiting = iter(zip(sizes, itertools.accumulate(sizes.values()), strict=True))
    at, end = 0, 0
    with contextlib.ExitStack() as opened:
        for chunk, size in _chunks(features):
            rows, start = example_records.frame(chunk, size), 0
            while start < size:
                if at + start == end:
                    path, end = next(waiting)
                    file = opened.enter_context(_PackedFile(path, compression_level))
                stop = min(size, end - at)
                file.write(rows.data[rows.starts[start] : rows.starts[stop]])
                if at + stop == end:
                    opened.pop_all().close()
                start = stop
            at += size


class _PackedFile:
    """A gzip file that gets its name at the end of its block, if that ends well."""

    def __init__(self, path: Path, level: int):
        self._path = path
        self._partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
        self._packer = zlib.compressobj(level, zlib.DEFLATED, _GZIP_FORMAT, _MEMORY_LEVEL)
        self._file = open(self._partial, "wb")  # noqa: SIM115

    def write(self, data: np.ndarray) -> None:
        """Adds bytes."""
        self._file.write(self._packer.compress(data))

    def __enter__(self) -> "_PackedFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:
            if kind is None:
                self._file.write(self._packer.flush())
        if kind is None:
            self._partial.replace(self._path)


def _chunks(features: Mapping[str, Feature]) -> Iterator[tuple[dict[str, Feature], int]]:
    """Examples in order, some at a time, and how many they are; none at all of none."""
    if not all(len(feature.values.lengths) for feature in features.values()):
        return
    lengths = sum(feature.values.lengths + 64 for feature in features.values())
    chunk_of = np.cumsum(lengths) // _CHUNK_BYTES
    bounds = [0, *(np.flatnonzero(np.diff(chunk_of)) + 1).tolist(), len(lengths)]
    for start, stop in itertools.pairwise(bounds):
        chunk = {
            name: feature._replace(
                values=feature.values._replace(
                    starts=feature.values.starts[start:stop],
                    lengths=feature.values.lengths[start:stop],
                )
            )
            for name, feature in features.items()
        }
        yield chunk, stop - start


def held_out_features(
    user_ids: pa.StringArray,
    histories: Feature,
    positives: Numbers,
    positive_offsets: np.ndarray,
    num_trained: np.ndarray,
) -> dict[str, Feature]:
    """Prediction tasks.

    Args:
        user_ids: `[num_tasks]` raw ids.
        histories: Dense ids of the events before.
        positives: Dense ids of the events held out, task by task.
        positive_offsets: `[num_tasks + 1]` of those.
        num_trained: `[num_tasks]` events of the user that training learns from.
    """
    trained = Numbers.of(num_trained)
    tasks = np.arange(len(num_trained))
    return {
        _HISTORY: histories,
        _POSITIVES: positives.ranges(positive_offsets[:-1], positive_offsets[1:]),
        _NUM_TRAINED: trained.ranges(tasks, tasks + 1),
        _USER_ID: Feature(_text_ranges(user_ids), is_bytes=True),
    }


def _text_ranges(texts: pa.StringArray) -> Ranges:
    """The bytes of texts, none of them missing."""
    texts = pa.concat_arrays([texts])  # without an offset
    _, bounds, data = texts.buffers()
    bounds = np.frombuffer(bounds, np.int32)[: len(texts) + 1] if len(texts) else np.zeros(1, int)
    data = (
        np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    )
    return Ranges(data, bounds[:-1].astype(np.int64), np.diff(bounds).astype(np.int64))


def train_example(item_ids: np.ndarray) -> bytes:
    """A serialised training window of dense ids, `[length]`, oldest first."""
    features = {_ITEM_IDS: Numbers.of(item_ids).ranges(np.array([0]), np.array([len(item_ids)]))}
    return example_records.serialize(features, 1).data.tobytes()


def held_out_example(
    user_id: bytes, history: np.ndarray, positives: np.ndarray, num_trained: int = 0
) -> bytes:
    """A serialised prediction task: raw user id, dense history and positives, events learnt."""
    features = held_out_features(
        pa.array([user_id], pa.binary()),
        Numbers.of(history).ranges(np.array([0]), np.array([len(history)])),
        Numbers.of(positives),
        np.array([0, len(positives)]),
        np.array([num_trained]),
    )
    return example_records.serialize(features, 1).data.tobytes()
