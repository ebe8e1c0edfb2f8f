"""TFRecord shards -> the training split in memory -> an endless stream of `PackedBatch`.

A GPU trains on millions of slots a second, more than can be read and parsed anew in
every epoch. Four bytes a click are held instead: 10^9 clicks need 4 GB.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.artifacts.example_files import open_kept_examples
from pipelines.training import packing
from pipelines.training.example_columns import choose_columns
from pipelines.training.input_pipeline import TrainingData, training_files
from pipelines.training.packing import PackedColumns
from pipelines.training.placement.input_share import WHOLE_INPUT, InputShare
from recall.config import RecallConfig
from recall.datasets import without_tuning
from recall.features import (
    EVENT_NUMBERS,
    EVENT_SLOTS,
    ITEM_IDS,
    REQUEST_NUMBERS,
    REQUEST_SLOTS,
    ROWS_OF_USERS,
    SHOWN,
    TARGET_WEIGHTS,
    TIMES,
    PackedBatch,
    ReadColumns,
    parse_windows,
)
from recall.ragged import Ragged

_PARSED_AT_ONCE = 8192
"""Sequences."""

_LENGTHS, _SHOWN_COUNTS = "lengths", "shown_counts"
"""Of each sequence; of what was shown before each event."""

_OF_EVENTS, _OF_REQUESTS = (EVENT_SLOTS, EVENT_NUMBERS), (REQUEST_SLOTS, REQUEST_NUMBERS)
"""Features of each event, and of the request that it answers."""

_SEED_OF_SHAPES = 1
"""Whatever the seed of a job: a compiled step serves all seeds."""


class PackedExamples:
    """The training split in memory, and the shapes that its batches have.

    Attributes:
        shape: Of every batch.
        num_slots: Target slots of an epoch, padding not counted.
    """

    def __init__(
        self, examples_dir: str | Path, config: RecallConfig, share: InputShare = WHOLE_INPUT
    ):
        """Reads the whole training split.

        Args:
            examples_dir: The folder that `recall ingest` wrote.
            config: `train.batch_slots`, `train.seed`, `train.max_epochs` and
                `model.max_history_length` are used.
            share: The replicas that batches are wanted for.

        Raises:
            InputError: Files are missing, or there is nothing to train on.
        """
        self._config, self._share = config, share
        self._sequences, self._columns = _read_sequences(
            examples_dir, choose_columns(examples_dir, config)
        )
        self.num_slots = len(self._sequences.values) - len(self._sequences)
        self.shape = packing.choose_shape(
            self._sequences,
            config.train.batch_slots,
            config.model.max_history_length,
            _SEED_OF_SHAPES,
            num_replicas=share.num_replicas,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Updates of the weights in an epoch."""
        return self.shape.num_calls * self.shape.num_steps

    @property
    def calls_per_epoch(self) -> int:
        """Batches of an epoch, for each replica; each is several steps."""
        return self.shape.num_calls

    def stream(self, first_epoch: int = 0, first_step: int = 0) -> TrainingData:
        """Batches of `shape.num_steps` steps each, epoch after epoch.

        Those of the replicas of the share take turns.

        Args:
            first_epoch: Epoch the stream starts at, counted from 0.
            first_step: Batches of its first epoch, of each replica, that are left out.
        """
        shape, train = self.shape, self._config.train
        column_types = {
            name: tf.TensorSpec([shape.num_steps, shape.num_rows, shape.width, *inner], dtype)
            for name, (inner, dtype) in self._columns.types.items()
        }

        def generate() -> Iterator[PackedBatch]:
            for epoch in range(first_epoch, train.max_epochs):
                first_call = first_step if epoch == first_epoch else 0
                for fields in packing.pack_epoch(
                    self._sequences,
                    shape,
                    train.seed,
                    epoch,
                    self._share.replicas,
                    first_call,
                    self._columns,
                ):
                    columns = {name: fields.pop(name) for name in column_types}
                    yield PackedBatch(**fields, columns=columns)

        slots = [shape.num_steps, shape.num_rows, shape.width]
        sequences = [shape.num_steps, shape.max_sequences]
        shapes = PackedBatch(slots, slots, slots, slots, sequences, sequences)
        signature = PackedBatch(
            *(tf.TensorSpec(wanted, tf.int32) for wanted in shapes[:-1]), columns=column_types
        )
        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        return TrainingData(
            without_tuning(dataset.prefetch(tf.data.AUTOTUNE)),
            shape.num_calls,
            len(self._sequences),
            self.num_slots,
        )


def _read_sequences(examples_dir: str | Path, read: ReadColumns) -> tuple[Ragged, PackedColumns]:
    """All training sequences, of every length bucket, in the order of the files."""
    parts: dict[str, list[np.ndarray]] = {}
    parse = functools.partial(_parse, read=read)
    for paths, num_sequences in training_files(examples_dir):
        files = open_kept_examples(paths, num_parallel_reads=tf.data.AUTOTUNE)
        # A file that was cut off can read as a shorter one: the count tells.
        files = files.apply(tf.data.experimental.assert_cardinality(num_sequences))
        parsed = files.batch(_PARSED_AT_ONCE).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
        for arrays in without_tuning(parsed).as_numpy_iterator():
            for name, array in arrays.items():
                parts.setdefault(name, []).append(array)
    arrays = {name: np.concatenate(of_name) for name, of_name in parts.items()}
    sequences = _ragged(arrays[ITEM_IDS], arrays[_LENGTHS])
    shown = _ragged(arrays[SHOWN], arrays[_SHOWN_COUNTS]) if SHOWN in arrays else None
    return sequences, PackedColumns(
        arrays.get(TARGET_WEIGHTS),
        shown,
        arrays.get(TIMES),
        arrays.get(ROWS_OF_USERS),
        *(
            (arrays[slots], arrays[numbers]) if slots in arrays else None
            for slots, numbers in (_OF_EVENTS, _OF_REQUESTS)
        ),
    )


def _ragged(values: np.ndarray, lengths: np.ndarray) -> Ragged:
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))


def _parse(serialized: tf.Tensor, read: ReadColumns) -> dict[str, tf.Tensor]:
    """`[batch]` serialised examples -> all events in one row, and how many of each example.

    With `SHOWN` come all items that were shown, and how many before each event.
    """
    windows = parse_windows(serialized, read)
    item_ids = windows[ITEM_IDS]
    flat = {
        ITEM_IDS: tf.cast(item_ids.values, tf.int32),
        _LENGTHS: item_ids.row_lengths(),
    }
    if TARGET_WEIGHTS in windows:
        flat[TARGET_WEIGHTS] = windows[TARGET_WEIGHTS].values
    as_they_are = (TIMES, ROWS_OF_USERS, *_OF_EVENTS, *_OF_REQUESTS)
    flat |= {name: windows[name].values for name in as_they_are if name in windows}
    if SHOWN in windows:
        counts = windows[SHOWN].with_values(windows[SHOWN].values.row_lengths())
        nothing = tf.zeros([item_ids.nrows(), 1], tf.int64)
        flat[_SHOWN_COUNTS] = tf.concat([nothing, counts], axis=1).values
        flat[SHOWN] = tf.cast(windows[SHOWN].flat_values, tf.int32)
    return flat
