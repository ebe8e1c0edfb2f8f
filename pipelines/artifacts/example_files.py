"""Reads the files of examples, but for examples that a later job has taken back.

`recall ingest --append` makes the examples of a user anew when there are new events.
The old ones stay in their files; `<file>.kept.npy` beside such a file says which of
its examples still count.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipelines.artifacts.kept_examples import read_kept
from recall.datasets import without_tuning

_COMPRESSION = "GZIP"


def open_kept_examples(
    paths: Sequence[str], order: tf.Tensor | None = None, num_parallel_reads: int | None = None
) -> tf.data.Dataset:
    """Serialised examples of files.

    Args:
        paths: The files.
        order: `[num_files]` int, in which order they are read; None is theirs.
        num_parallel_reads: As of `tf.data.TFRecordDataset`, where no example was taken back.
    """
    masks = [read_kept(path) for path in paths]
    files = tf.constant(list(paths))
    if all(mask is None for mask in masks):
        ordered = files if order is None else tf.gather(files, order)
        return without_tuning(
            tf.data.TFRecordDataset(
                ordered, compression_type=_COMPRESSION, num_parallel_reads=num_parallel_reads
            )
        )
    starts, size = [], 0
    for mask in masks:
        starts.append(-1 if mask is None else size)
        size += 0 if mask is None else len(mask)
    kept = tf.constant(np.concatenate([mask for mask in masks if mask is not None]))
    starts = tf.constant(starts, tf.int64)

    def read_file(file: tf.Tensor) -> tf.data.Dataset:
        examples = tf.data.TFRecordDataset(files[file], compression_type=_COMPRESSION)
        start = starts[file]
        counted = examples.enumerate().filter(
            lambda at, _: start < 0 or tf.gather(kept, start + at)
        )
        return counted.map(lambda _, example: example)

    order = tf.range(len(paths)) if order is None else order
    return without_tuning(tf.data.Dataset.from_tensor_slices(order).flat_map(read_file))
