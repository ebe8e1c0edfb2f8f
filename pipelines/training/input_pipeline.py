"""TFRecord shards -> an endless `tf.data` stream of `SequenceBatch`.

The order of the batches of an epoch is a function of (seed, epoch) alone, so a
job that resumes at an epoch sees what the uninterrupted one would have seen.
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from pipelines.artifacts import records
from pipelines.artifacts.example_files import open_kept_examples
from pipelines.training import devices
from pipelines.training.example_columns import choose_columns
from pipelines.training.placement.input_share import WHOLE_INPUT, InputShare
from recall.config import RecallConfig
from recall.datasets import without_tuning
from recall.errors import InputError
from recall.features import TARGET_WEIGHTS, SequenceBatch, parse_sequences
from recall.settings.train import TrainConfig
from serving.release import storage

_FILE_NAME = re.compile(r"examples-(\d+)-\d+-of-\d+\.tfrecord\.gz")

_SHUFFLE_BUFFER = 50_000
"""Serialised sequences shuffled at once, about 5 to 25 MB per length bucket."""

_CHECKED_AT_ONCE = 4096
"""Sequences parsed at once when a damaged file is looked for."""


class TrainingData(NamedTuple):
    """The training split as a stream.

    Attributes:
        dataset: `SequenceBatch` after `SequenceBatch`, epoch after epoch.
        steps_per_epoch: Batches per epoch.
        num_sequences: Sequences per epoch.
        num_targets: Clicks per epoch that are learnt from, None where the statistics lack them.
    """

    dataset: tf.data.Dataset
    steps_per_epoch: int
    num_sequences: int
    num_targets: int | None

    @property
    def has_weights(self) -> bool:
        """Whether clicks count differently as targets."""
        return TARGET_WEIGHTS in self.dataset.element_spec.columns


class _Bucket(NamedTuple):
    """The files of sequences of like length.

    Attributes:
        length: Input slots of the longest sequence.
        paths: The files.
        num_sequences: Sequences in all files.
    """

    length: int
    paths: list[str]
    num_sequences: int

    def batch_size(self, config: TrainConfig) -> int:
        """Sequences per step."""
        fitting = max(config.batch_slots // self.length, config.min_batch_size)
        return min(fitting, config.batch_size)

    def num_batches(self, config: TrainConfig, num_readers: int = 1) -> int:
        """Batches of a reader's share per epoch, the last one perhaps smaller."""
        num_sequences = -(-self.num_sequences // num_readers)
        return -(-num_sequences // self.batch_size(config))


def read_training_data(
    examples_dir: str | Path,
    config: RecallConfig,
    *,
    first_epoch: int = 0,
    first_step: int = 0,
    share: InputShare = WHOLE_INPUT,
) -> TrainingData:
    """Opens the training split.

    Batches are made of sequences of one length bucket, because a batch is as
    wide as its longest sequence and lengths are skewed. Batches of long
    sequences have fewer of them, so that steps are of like size, but not fewer
    than `train.min_batch_size`. The last batch of a bucket may be smaller;
    nothing is dropped.

    Args:
        examples_dir: The folder that `recall ingest` wrote.
        config: `train.batch_size`, `train.batch_slots`, `train.min_batch_size` and
            `train.seed` are used.
        first_epoch: Epoch the stream starts at, counted from 0.
        first_step: Steps of its first epoch that are left out; they are read all the same.
        share: The replicas that batches are wanted for. The steps are those of a process
            that trains alone; each replica has its part of their sequences, one after
            the other. Of several readers each has every n-th sequence, and batches of its
            own.

    Raises:
        InputError: Files are missing, or there is nothing to train on.
    """
    config = devices.complete(config)
    buckets = _read_buckets(Path(examples_dir))
    steps = [bucket.num_batches(config.train, share.num_readers) for bucket in buckets]
    # The bucket of each step, as often as it has batches; shuffled per epoch.
    bucket_of_step = tf.repeat(tf.range(len(buckets), dtype=tf.int64), steps)

    def read_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        # Shuffling also depends on the seed of the graph it is built in, which
        # is this function's own; without this it is the program's.
        tf.random.set_seed(config.train.seed)
        seed = tf.stack([tf.cast(config.train.seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(bucket_of_step, seed)
        streams = [
            _read_bucket(bucket, config.train.seed + len(buckets) * epoch + i, share).batch(
                bucket.batch_size(config.train)
            )
            for i, bucket in enumerate(buckets)
        ]
        return tf.data.Dataset.choose_from_datasets(
            streams, tf.data.Dataset.from_tensor_slices(order), stop_on_empty_dataset=False
        )

    batches = tf.data.Dataset.range(first_epoch, config.train.max_epochs).flat_map(read_epoch)
    if first_step > 0:
        batches = batches.skip(first_step)
    untouched = tf.autograph.experimental.do_not_convert
    parse = functools.partial(parse_sequences, read=choose_columns(examples_dir, config))
    if share.num_replicas > 1:
        batches = batches.flat_map(lambda batch: _divide(batch, share))
        parse = functools.partial(_parse_part, parse)
    dataset = batches.map(untouched(parse), num_parallel_calls=tf.data.AUTOTUNE).prefetch(
        tf.data.AUTOTUNE
    )
    num_sequences = sum(bucket.num_sequences for bucket in buckets)
    return TrainingData(
        without_tuning(dataset), sum(steps), num_sequences, _num_targets(Path(examples_dir))
    )


def _divide(serialized: tf.Tensor, share: InputShare) -> tf.data.Dataset:
    """The parts of a batch, of the replicas of a share; a part may be empty."""
    number = tf.size(serialized)
    replicas = tf.constant(list(share.replicas))
    starts = replicas * number // share.num_replicas
    ends = (replicas + 1) * number // share.num_replicas
    parts = tf.data.Dataset.from_tensor_slices((starts, ends))
    return parts.map(lambda start, end: serialized[start:end])


def _parse_part(
    parse: Callable[[tf.Tensor], SequenceBatch], serialized: tf.Tensor
) -> SequenceBatch:
    """The sequences of a part; of an empty one a row of padding, which trains nothing."""
    batch = parse(serialized)
    rows = tf.cast(tf.size(serialized) == 0, tf.int32)

    def pad(tensor: tf.Tensor, length: int) -> tf.Tensor:
        more = [[0, rows], [0, length * rows], *[[0, 0]] * (tensor.shape.rank - 2)]
        return tf.pad(tensor, more)

    columns = {name: pad(column, 1) for name, column in batch.columns.items()}
    return SequenceBatch(pad(batch.item_ids, 2), columns)


def count_steps_per_epoch(examples_dir: str | Path, config: RecallConfig) -> int:
    """Batches per epoch, without opening the files."""
    train = devices.complete(config).train
    return sum(bucket.num_batches(train) for bucket in _read_buckets(Path(examples_dir)))


def training_files(examples_dir: str | Path) -> list[tuple[list[str], int]]:
    """Files of the training split by length bucket, each time with their sequences in all.

    Raises:
        InputError: Files are missing, or there is nothing to train on.
    """
    return [(bucket.paths, bucket.num_sequences) for bucket in _read_buckets(Path(examples_dir))]


def _read_buckets(examples_dir: Path) -> list[_Bucket]:
    """Training files grouped by the length bucket in their names."""
    split_dir = examples_dir / "Split-train"
    counts = _file_counts(examples_dir, "train")
    grouped: dict[int, dict[str, int]] = {}
    for name, count in sorted(counts.items()):
        match = _FILE_NAME.fullmatch(name)
        if match is None or not (split_dir / name).exists():
            remedy = records.how_to_renew(examples_dir, "ingest")
            raise InputError(f"{split_dir / name} is missing. {remedy}")
        if count > 0:
            grouped.setdefault(int(match[1]), {})[str(split_dir / name)] = count
    if not grouped:
        raise InputError(f"{split_dir} holds no sequence of two events. Nothing to train on.")
    return [
        _Bucket(length, list(files), sum(files.values()))
        for length, files in sorted(grouped.items())
    ]


def _num_targets(examples_dir: Path) -> int | None:
    statistics = storage.read_json(examples_dir / records.STATISTICS_NAME)
    return statistics["splits"]["train"].get("targets")


def _file_counts(examples_dir: Path, split: str) -> dict[str, int]:
    """Examples of each file of a split."""
    statistics = storage.read_json(examples_dir / records.STATISTICS_NAME)
    return statistics["splits"][split]["files"]


def _read_bucket(bucket: _Bucket, seed: tf.Tensor, share: InputShare) -> tf.data.Dataset:
    """Serialised sequences of one bucket, those of a reader, in a random order."""
    order = tf.random.experimental.stateless_shuffle(
        tf.range(len(bucket.paths)), tf.stack([seed, seed])
    )
    sequences = open_kept_examples(bucket.paths, order)
    # A file that was cut off can read as a shorter one: the count tells.
    sequences = sequences.apply(tf.data.experimental.assert_cardinality(bucket.num_sequences))
    if share.num_readers > 1:
        sequences = sequences.shard(share.num_readers, share.reader)
    return sequences.shuffle(min(_SHUFFLE_BUFFER, bucket.num_sequences), seed=seed)


def find_damaged_file(examples_dir: str | Path, split: str = "train") -> str | None:
    """The first file of a split that does not hold what the statistics say.

    Reads the whole split; meant for the error text after reading has failed.
    """
    counts = _file_counts(Path(examples_dir), split)
    for name, count in sorted(counts.items()):
        path = str(Path(examples_dir) / f"Split-{split}" / name)
        batches = open_kept_examples([path]).batch(_CHECKED_AT_ONCE)
        try:
            found = sum(len(parse_sequences(b).item_ids) for b in without_tuning(batches))
        except tf.errors.OpError:
            return path
        if found != count:
            return path
    return None
