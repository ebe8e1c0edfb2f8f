"""How TensorFlow shares the cores among the operations of a training step."""

import os

import tensorflow as tf
from absl import logging

_VARIABLE = "TF_NUM_INTRAOP_THREADS"


def share_cores_between_operations() -> None:
    """Gives one operation at most half of the cores, so that two run side by side.

    A step has independent parts: the two encodings of the seq2seq loss, and the
    products of every interest in the seq2item loss. To run them beside each other
    costs less than to divide each among all cores and wait for the slowest part: on
    two cores a step takes .77 of the time with seq2seq, .79 without (TRIALS.md).

    Does nothing where TensorFlow has started already, as its threads are fixed
    then, and where the caller chose: `TF_NUM_INTRAOP_THREADS`, or `tf.config`.
    """
    if _VARIABLE in os.environ or tf.config.threading.get_intra_op_parallelism_threads():
        return
    try:
        num_threads = max(1, len(os.sched_getaffinity(0)) // 2)
        tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    except RuntimeError:
        logging.debug("TensorFlow has started; its threads stay as they are.")
