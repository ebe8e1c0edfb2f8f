"""Sizes and times of micro-batching, read from TF Serving's `BatchingParameters`."""

import os
from typing import NamedTuple

from recall.errors import InputError
from serving.protocol import text_config
from serving.protocol.tf_serving_config_pb2 import BatchingParameters

_FLAG = "batching_parameters_file"


class BatchingOptions(NamedTuple):
    """See `batcher.Batcher`; the names are those of `BatchingParameters`.

    Attributes:
        max_batch_size: Rows of a batch. 32: the user tower takes 1.1 ms for
            one row and 0.41 ms for each of 32; larger batches gain no more.
        batch_timeout_s: A batch that follows another one and is not full waits
            for more until its first request is that old. 0: never;
            requests collect while the model is busy, and 2 ms gained nothing.
        max_enqueued_batches: Bound of the queue, in full batches. 8: more
            rows would wait longer than a recall request may take.
        num_batch_threads: Batches that run at a time. 1: a core computes 2,400
            rows a second, more than the doors can pass on.
        allowed_batch_sizes: Batches are filled up to the next of these with
            copies; () leaves them as they are.
        pad_variable_length_inputs: Whether histories of different lengths are
            padded to share a batch; else only equal lengths do. A file has to
            ask for it.
    """

    max_batch_size: int = 32
    batch_timeout_s: float = 0.0
    max_enqueued_batches: int = 8
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = True

    @property
    def capacity(self) -> int:
        """Rows that may wait."""
        return self.max_batch_size * self.max_enqueued_batches

    def padded_size(self, num_rows: int) -> int:
        """Rows a batch is filled up to.

        >>> BatchingOptions(allowed_batch_sizes=(1, 8, 32)).padded_size(3)
        8
        """
        return min((size for size in self.allowed_batch_sizes if size >= num_rows), default=0)


DEFAULT_BATCHING = BatchingOptions()

MAX_BATCH_TIMEOUT_S = 60.0
"""A lone request waits that long for company; useful times are a few milliseconds."""


def read_batching_options(path: str | os.PathLike) -> BatchingOptions:
    """Reads a `BatchingParameters` file.

    What it leaves out keeps its default, except `pad_variable_length_inputs`,
    which is then false: the message has no way to tell left out from false,
    and TF Serving reads the same file so.

    Raises:
        InputError: The file cannot be read, or a value makes no sense.
    """
    message = text_config.read_message(path, BatchingParameters, _FLAG)
    names = ("max_batch_size", "max_enqueued_batches", "num_batch_threads")
    given = {name: getattr(message, name).value for name in names if message.HasField(name)}
    for name, value in given.items():
        if value < 1:
            raise InputError(f"--{_FLAG}={path}: `{name}` must be at least 1, received {value}.")
    timeout_micros = message.batch_timeout_micros.value
    if not 0 <= timeout_micros <= MAX_BATCH_TIMEOUT_S * 1e6:
        raise InputError(
            f"--{_FLAG}={path}: `batch_timeout_micros` must be in [0, "
            f"{MAX_BATCH_TIMEOUT_S * 1e6:.0f}], a minute, received {timeout_micros}."
        )
    options = BatchingOptions(
        **given,
        batch_timeout_s=timeout_micros / 1e6,
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length_inputs=message.pad_variable_length_inputs,
    )
    sizes = options.allowed_batch_sizes
    if sizes and (list(sizes) != sorted(set(sizes)) or sizes[-1] != options.max_batch_size):
        raise InputError(
            f"--{_FLAG}={path}: `allowed_batch_sizes` must increase and end with "
            f"`max_batch_size` = {options.max_batch_size}, received {list(sizes)}."
        )
    return options
