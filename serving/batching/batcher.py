"""Requests of several threads run as one batch of a model of arrays.

Imports no TensorFlow. Rows of different lengths are padded to share a batch.
"""

from collections.abc import Callable, Sequence

import numpy as np

from serving.batching import arrays
from serving.batching.arrays import Arrays
from serving.batching.batch_queue import BatchQueue, BatchReport
from serving.batching.options import BatchingOptions

Outputs = dict[str, np.ndarray]


class Batcher:
    """Runs a function of batches for callers that have a few rows each."""

    def __init__(
        self,
        function: Callable[[Arrays], Outputs],
        options: BatchingOptions,
        report: Callable[[BatchReport], None] = lambda _: None,
    ):
        """Puts a queue in front of a function.

        Args:
            function: Inputs -> outputs; the first axis of all is the batch.
            options: Sizes and times.
            report: Told of every batch that ran.
        """
        self._function = function
        self._options = options
        self._queue = BatchQueue(self._run_requests, options, report)

    @property
    def queued_rows(self) -> int:
        """Rows that wait now."""
        return self._queue.queued_rows

    def run(self, inputs: Arrays) -> Outputs:
        """The outputs for a request's rows.

        Args:
            inputs: At least one, all with the same number of rows. More rows
                than a batch may have run alone.

        Raises:
            ServingError: See `BatchQueue.run`.
            Exception: What the function raised for this request.
        """
        key = arrays.key_of(inputs, padded=self._options.pad_variable_length_inputs)
        return self._queue.run(inputs, arrays.num_rows(inputs), key)

    def _run_requests(self, requests: Sequence[Arrays]) -> list[Outputs]:
        """The outputs of requests with equal keys."""
        sizes = [arrays.num_rows(inputs) for inputs in requests]
        merged = arrays.stack_rows(requests)
        padded = arrays.pad_rows(merged, self._options.padded_size(sum(sizes)))
        return arrays.split(self._function(padded), sizes)
