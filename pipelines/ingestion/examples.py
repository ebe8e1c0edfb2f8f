"""Split sequences -> TFRecord files of `tf.train.Example`. Imports no TensorFlow."""

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
from pipelines.ingestion.events import event_features
from pipelines.ingestion.events.event_features import NO_VALUES, EventValues
from pipelines.ingestion.sequences import Part

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
        strategy: int = zlib.Z_DEFAULT_STRATEGY,
    ):
        """Writes below `examples_dir`, whose split folders exist.

        `strategy` is zlib's: `Z_HUFFMAN_ONLY` takes a third of the time, for files that are
        a fifth (windows) to a half (held-out tasks) larger.

        Attributes:
            owners: Split and bucket of a file -> `[num_examples]` the user of each example.
        """
        self._examples_dir = examples_dir
        self._shard = shard
        self._num_shards = num_shards
        self._max_history_length = max_history_length
        self._window_stride, self._strategy = window_stride, strategy
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
        for part in (Part.VALID, Part.TEST):
            held_out = sequences.hold_out_marked(offsets, parts, part)
            features = held_out_features(
                user_ids.take(pa.array(held_out.users)),
                numbers.ranges(*held_out.histories),
                Numbers.of(dense[held_out.positives]),
                held_out.positive_offsets,
                num_trained[held_out.users],
            )
            features |= event_features.of_tasks(
                columns, held_out.positives, held_out.positive_offsets
            )
            name, count = self._write_file(part.label, UNBUCKETED, features)
            self.owners[part.label, UNBUCKETED] = held_out.users
            files = {name: count} if count else {}
            facts[part.label] = {"files": files, "targets": len(held_out.positives)}
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
        files = {}
        for bucket in np.unique(buckets).tolist():
            here = np.flatnonzero(buckets == bucket)
            features = {_ITEM_IDS: numbers.ranges(starts[here], stops[here])}
            bounds = cut.starts[here], cut.stops[here]
            features |= event_features.of_windows(columns, learnt, bounds)
            name, count = self._write_file(Part.TRAIN.label, bucket, features)
            self.owners[Part.TRAIN.label, bucket] = users[here]
            files[name] = count
        return {"files": files, "targets": int(num_slots.sum())}

    def _write_file(
        self, split: str, bucket: int, features: Mapping[str, Feature]
    ) -> tuple[str, int]:
        """Writes one file, if there is an example, and counts its examples."""
        name = file_name(bucket, self._shard, self._num_shards)
        count = len(next(iter(features.values())).values.lengths)
        if count:
            path = split_dir(self._examples_dir, split) / name
            write_records(path, features, self._strategy)
        return name, count


def write_records(
    path: Path, features: Mapping[str, Feature], strategy: int = zlib.Z_DEFAULT_STRATEGY
) -> None:
    """Writes examples as a compressed TFRecord file, which appears whole or not at all."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    packer = zlib.compressobj(
        _COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP_FORMAT, _MEMORY_LEVEL, strategy
    )
    with open(partial, "wb") as file:
        for chunk, size in _chunks(features):
            file.write(packer.compress(example_records.frame(chunk, size)))
        file.write(packer.flush())
    partial.replace(path)


def _chunks(features: Mapping[str, Feature]) -> Iterator[tuple[dict[str, Feature], int]]:
    """Examples in order, some at a time, and how many they are."""
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
