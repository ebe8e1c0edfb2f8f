"""Streams of `tf.data` that end when they are left.

By default every iterator has a thread that tunes how it reads, and whoever drops the iterator
waits for that thread: mostly not at all, in one case of ten up to a minute
(`findings/tf_data_iterator_ends_late.sh`). After the last epoch a job then stands still.
"""

from typing import TypeVar

import tensorflow as tf

_Dataset = TypeVar("_Dataset", bound=tf.data.Dataset)


def without_tuning(dataset: _Dataset) -> _Dataset:
    """The same stream without that thread.

    Stages of `tf.data.AUTOTUNE` then have as many threads as TensorFlow has for operations, and
    a buffer before them grows where it was found empty.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
