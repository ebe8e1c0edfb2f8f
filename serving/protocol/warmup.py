"""Requests a model server replays before it calls a new version available.

TensorFlow Serving reads them from `assets.extra`; one bad record fails the
load, more than 1,000 are refused.
"""

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from recall.datasets import without_tuning

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"

MAX_RECORDS = 1000
"""TF Serving's own limit."""

Record = prediction_log_pb2.PredictionLog


def write_requests(saved_model_dir: Path, requests: Iterator[Record]) -> None:
    """Writes the records where TF Serving looks for them."""
    path = saved_model_dir / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            writer.write(request.SerializeToString(deterministic=True))


def read_requests(saved_model_dir: Path) -> list[Record]:
    """The records of a SavedModel, [] where it has none."""
    path = saved_model_dir / WARMUP_FILE
    if not path.exists():
        return []
    records = without_tuning(tf.data.TFRecordDataset(str(path)))
    return [Record.FromString(record) for record in records.as_numpy_iterator()]
