"""Training examples of any size whose lengths are those of a real log."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
from absl import flags

from pipelines.artifacts import records
from pipelines.ingestion import examples, windows
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.encoder import FeatureEncoder
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.vocabulary import FIRST_ITEM_ID
from serving.release import storage

EXAMPLES = flags.DEFINE_string(
    "examples", None, "Folder of `recall ingest` to take the sequences from."
)

MAX_HISTORY_LENGTH = 50

# Amazon Beauty, leave-one-out: number of training sequences with 1, 2, ... 50
# target slots; 22,512 sequences, 131,413 slots, mean 5.8.
BEAUTY_LENGTHS = (
    *(8, 7170, 4223, 2687, 1816, 1373, 885, 696, 558, 443, 363, 266, 212, 215, 144, 123, 114),
    *(119, 86, 71, 76, 77, 62, 59, 46, 47, 39, 32, 41, 24, 20, 24, 19, 26, 24, 22, 15, 17, 8),
    *(12, 11, 15, 8, 12, 8, 8, 13, 9, 8, 158),
)

MEAN_SLOTS = 5.8


class Catalogue(NamedTuple):
    """Stands for an `ItemVocabulary`: a model needs its size, not 10^7 strings."""

    num_items: int
    features: ItemFeatures | None = None
    users: ItemFeatures | None = None
    log_columns: tuple[FittedColumn, ...] = ()

    @property
    def table_size(self) -> int:
        """Rows of an embedding table that covers every dense id."""
        return self.num_items + FIRST_ITEM_ID

    @property
    def counts(self) -> np.ndarray:
        """`[num_items]` clicks, none, or one: dropout is that of a log with few of them."""
        return np.full(self.num_items, int(self.features is not None))


FEATURES = (
    FeatureColumn("categories", "item", "categorical", max_values=4),
    FeatureColumn("brand", "item", "categorical"),
    FeatureColumn("price", "item", "numeric", buckets=20),
    FeatureColumn("image", "item", "vector", dim=32),
    FeatureColumn("words", "item", "text", max_values=8),
)
"""Five features, of every kind that items have."""


EVENT_COLUMNS = (
    FittedColumn(FeatureColumn("event_type", "event", "categorical"), ("view", "cart", "buy")),
    FittedColumn(FeatureColumn("when", "event", "timestamp")),
)
"""Two features of clicks: what they were, and when (gap, hour, weekday)."""


def draw_event_values(item_ids: np.ndarray) -> dict[str, tf.Tensor]:
    """Columns of a batch with random values of `EVENT_COLUMNS`.

    Args:
        item_ids: `[batch, length + 1]` dense ids.
    """
    generator = np.random.default_rng(6)
    size = item_ids.size
    encoder = FeatureEncoder(EVENT_COLUMNS, reads_names=False)
    times = np.cumsum(generator.lognormal(8, 3, size).astype(np.int64)) + 1_600_000_000
    values = {
        "event_type": tf.constant(generator.integers(0, 5, size)),
        "when": tf.constant(np.stack([times, np.append(times[:1], times[:-1])], axis=1)),
    }
    columns = {}
    for name, part in zip(("slots", "numbers"), encoder(values).encoded, strict=True):
        part = tf.reshape(part, [*item_ids.shape, -1])
        columns[f"event_{name}"] = part
    return columns


def draw_features(num_items: int) -> ItemFeatures:
    """Values of `FEATURES`, random: four of 500 categories, one of 2,000 brands, five words."""
    generator = np.random.default_rng(5)

    def names(prefix: str, several: int, most: int) -> pa.Array:
        drawn = generator.integers(0, most, num_items * several)
        known = pa.array([f"{prefix}{number}" for number in range(most)])
        return pa.ListArray.from_arrays(
            pa.array(np.arange(num_items + 1) * several, pa.int32()), known.take(pa.array(drawn))
        )

    table = pa.table(
        {
            "categories": names("c", 4, 500),
            "brand": names("b", 1, 2_000),
            "price": pa.array(generator.lognormal(size=num_items)),
            "image": pa.FixedSizeListArray.from_arrays(
                pa.array(generator.normal(size=num_items * 32).astype(np.float32)), 32
            ).cast(pa.list_(pa.float32())),
            "words": pc.binary_join(names("w", 5, 10_000), " "),
        }
    )
    return ItemFeatures.fit(FEATURES, table, np.ones(num_items))


def draw_num_slots(num_sequences: int, generator: np.random.Generator) -> np.ndarray:
    """`[num_sequences]` target slots per sequence, as in Amazon Beauty."""
    shares = np.array(BEAUTY_LENGTHS) / sum(BEAUTY_LENGTHS)
    return generator.choice(np.arange(1, MAX_HISTORY_LENGTH + 1), num_sequences, p=shares)


def draw_item_ids(size: int, num_items: int, generator: np.random.Generator) -> np.ndarray:
    """`[size]` dense ids; item of rank r with a probability of about 1/r."""
    ranks = np.power(num_items, generator.random(size)).astype(np.int64) - 1
    return FIRST_ITEM_ID + np.minimum(ranks, num_items - 1)


def draw_sequences(
    num_sequences: int, num_items: int, seed: int = 0
) -> dict[int, list[np.ndarray]]:
    """Dense ids of training sequences, by length bucket."""
    generator = np.random.default_rng(seed)
    num_slots = draw_num_slots(num_sequences, generator)
    buckets = windows.bucket_of(num_slots, windows.bucket_boundaries(MAX_HISTORY_LENGTH))
    sequences = {}
    for bucket in np.unique(buckets).tolist():
        lengths = num_slots[buckets == bucket] + 1
        ids = draw_item_ids(int(lengths.sum()), num_items, generator)
        sequences[bucket] = np.split(ids, np.cumsum(lengths)[:-1])
    return sequences


def write_training_split(
    examples_dir: str | Path, sequences: Mapping[int, Sequence[np.ndarray]]
) -> None:
    """Writes the training split as `recall ingest` does, one file per length bucket.

    Args:
        examples_dir: Folder without a training split.
        sequences: Dense ids, by input slots of the longest of the bucket.
    """
    folder = examples.split_dir(examples_dir, "train")
    folder.mkdir(parents=True)
    files = {}
    for bucket, members in sequences.items():
        name = examples.file_name(bucket, 0, 1)
        with tf.io.TFRecordWriter(str(folder / name), "GZIP") as writer:
            for item_ids in members:
                writer.write(examples.train_example(item_ids))
        files[name] = len(members)
    storage.write_json(
        Path(examples_dir) / records.STATISTICS_NAME, {"splits": {"train": {"files": files}}}
    )
