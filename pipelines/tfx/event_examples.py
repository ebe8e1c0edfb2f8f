"""A log as `tf.Example`s, one per event, and back: what ExampleGen writes and `Sequences` reads.

Ids stay texts, times are whole microseconds and rows keep their order, so that the
way through TFX ends in the examples that `recall ingest` makes of the log itself.
TFX's own CsvExampleGen would make the number 7 of an id 007, and floats of 24 bits
of times.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import tensorflow as tf

from pipelines.sources.events import EventSource
from recall.datasets import without_tuning
from recall.errors import InputError

TIMESTAMP = "timestamp"
MICROSECONDS = 1_000_000
_TEXTS = ("user_id", "item_id", "split")
_LARGEST_SECONDS = 2**62 / MICROSECONDS
"""About 146,000 years, half of what fits: a number beyond it is no time in seconds."""

_FILE_EVENTS = 250_000
"""Events of a file: files are what StatisticsGen's workers share."""

_READ_EVENTS = 8192
"""Events parsed at once."""

_OPTIONS = tf.io.TFRecordOptions(compression_type="GZIP")


def write_events(source: EventSource, split_dir: str | Path, max_bad_rows: int = 0) -> int:
    """Writes a log as gzipped TFRecord files, in its order.

    Args:
        source: The log.
        split_dir: Folder of the split; created.
        max_bad_rows: Bad rows that are skipped; see `EventSource.read_batches`.

    Returns:
        The number of events.

    Raises:
        InputError: The log is not usable, or a time does not fit.
    """
    folder = Path(split_dir)
    folder.mkdir(parents=True, exist_ok=True)
    has_time, number, writer = source.columns.has_time, 0, None
    try:
        for batch in source.read_batches(max_bad_rows):
            for example in _examples(batch, source.spec, has_time=has_time):
                if number % _FILE_EVENTS == 0:
                    if writer is not None:
                        writer.close()
                    name = f"events-{number // _FILE_EVENTS:05d}.tfrecord.gz"
                    writer = tf.io.TFRecordWriter(str(folder / name), _OPTIONS)
                writer.write(example)
                number += 1
    finally:
        if writer is not None:
            writer.close()
    return number


def _examples(batch: pa.RecordBatch, spec: str, *, has_time: bool) -> Iterator[bytes]:
    """The events of a batch, serialised."""
    columns = {}
    for name in _TEXTS:
        if name in batch.schema.names:
            values = batch.column(name).cast(pa.binary()).to_pylist()
            columns[name] = [_feature(bytes_list=tf.train.BytesList(value=[v])) for v in values]
    if has_time:
        times = _to_microseconds(batch.column(TIMESTAMP).to_numpy(), spec)
        columns[TIMESTAMP] = [_feature(int64_list=tf.train.Int64List(value=[t])) for t in times]
    for values in zip(*columns.values(), strict=True):
        features = tf.train.Features(feature=dict(zip(columns, values, strict=True)))
        yield tf.train.Example(features=features).SerializeToString(deterministic=True)


def _feature(**kind) -> tf.train.Feature:
    return tf.train.Feature(**kind)


def _to_microseconds(seconds: np.ndarray, spec: str) -> list[int]:
    too_large = np.abs(seconds) > _LARGEST_SECONDS
    if too_large.any():
        raise InputError(
            f"{spec} has a time of {seconds[too_large][0]:.17g} s, which is none. "
            "Say the unit of the times (--timestamp_unit)."
        )
    return np.rint(seconds * MICROSECONDS).astype(np.int64).tolist()


def events_to_parquet(split_dir: str | Path, path: str | Path) -> pa.Schema:
    """Turns the files of `write_events` into one Parquet file, in their order.

    Args:
        split_dir: Folder of the split.
        path: The file to write: `user_id`, `item_id`, and `timestamp` (microseconds) and
            `split` where the events have them.

    Returns:
        The schema of the file.

    Raises:
        InputError: The folder holds no events.
    """
    files = sorted(str(file) for file in Path(split_dir).glob("*.gz"))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_READ_EVENTS)
    first = next(iter(without_tuning(records.take(1))), None) if files else None
    if first is None:
        raise InputError(f"{split_dir} holds no events. Run the pipeline's ExampleGen again.")
    features = _features_of(first[0].numpy())
    schema = pa.schema([(name, _arrow_type(spec)) for name, spec in features.items()])
    with pq.ParquetWriter(path, schema) as writer:
        batches = records.map(lambda texts: tf.io.parse_example(texts, features))
        for batch in without_tuning(batches):
            writer.write_batch(_record_batch(batch, schema))
    return schema


def _features_of(example: bytes) -> dict[str, tf.io.FixedLenFeature]:
    """The columns that the events have: every event has the same."""
    present = tf.train.Example.FromString(example).features.feature
    specs = {name: tf.io.FixedLenFeature([], tf.string) for name in _TEXTS}
    specs[TIMESTAMP] = tf.io.FixedLenFeature([], tf.int64)
    return {name: spec for name, spec in specs.items() if name in present}


def _arrow_type(spec: tf.io.FixedLenFeature) -> pa.DataType:
    return pa.int64() if spec.dtype == tf.int64 else pa.string()


def _record_batch(batch: dict[str, tf.Tensor], schema: pa.Schema) -> pa.RecordBatch:
    arrays = []
    for field in schema:
        values = batch[field.name].numpy()
        if pa.types.is_string(field.type):
            arrays.append(pc.cast(pa.array(values, pa.binary()), pa.string()))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
