"""The average of the weights over the latest epochs of a training job."""

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

_BLOCK_ELEMENTS = 1 << 24
"""Elements exchanged at once: 64 MB beside the weights, however large a table is."""


class WeightAverage(tf.Module):
    """Exponential moving average of weights, one update an epoch.

    The average generalises better than the weights of any one step and does for
    a constant learning rate what a falling one does, without a fixed end. After
    epoch e the average stands for the last 1 + `window` * e epochs, so it forgets
    the first ones as training goes on. Updates between epochs would cost a
    pass over the whole embedding table each.

    Of weights with a copy per replica the first one alone is averaged, and is what is
    read inside `applied`: all are equal between steps.

    Attributes:
        averages: One variable per weight; saved with the checkpoint of a job.

    Reference:
        Izmailov et al., "Averaging Weights Leads to Wider Optima and Better
        Generalization", UAI 2018 (there with equal weights).
    """

    def __init__(self, weights: Sequence[tf.Variable], window: float, epochs_before: int = 0):
        """Starts with copies of the weights.

        Args:
            weights: Variables to average.
            window: Share of the epochs, the latest ones, that count; 0 keeps the
                weights of the last epoch.
            epochs_before: Epochs that the weights stand for already.
        """
        super().__init__()
        self._weights = [_first_copy(weight) for weight in weights]
        self._window = window
        self._epochs_before = epochs_before
        self.averages = [tf.Variable(weight, trainable=False) for weight in self._weights]

    def average_of(self, weight: tf.Variable) -> tf.Variable:
        """The average of one of the weights."""
        number = [one.ref() for one in self._weights].index(_first_copy(weight).ref())
        return self.averages[number]

    def update(self, epoch: int) -> None:
        """Moves the averages towards the weights after epoch `epoch`, counted from 0."""
        share = 1 / (1 + self._window * (self._epochs_before + epoch))
        for average, weight in zip(self.averages, self._weights, strict=True):
            for rows in _row_blocks(weight):
                old = average[rows]
                _assign(average, rows, old + share * (weight[rows] - old))

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        """Swaps weights and averages in place."""
        for average, weight in zip(self.averages, self._weights, strict=True):
            for rows in _row_blocks(weight):
                kept = tf.identity(weight[rows])
                _assign(weight, rows, average[rows])
                _assign(average, rows, kept)


def _first_copy(weight: tf.Variable) -> tf.Variable:
    """That of the first replica here, of a variable that has several."""
    # A slice that is assigned to one with several would change the first alone, too.
    return weight.values[0] if isinstance(weight, tf.distribute.DistributedValues) else weight


def _assign(variable: tf.Variable, rows: slice, values: tf.Tensor) -> None:
    """Gives rows new values, wherever the variable is: one of another process has no slices."""
    tf.raw_ops.ResourceStridedSliceAssign(
        ref=variable.handle, begin=[rows.start], end=[rows.stop], strides=[1], value=values
    )


def _row_blocks(variable: tf.Variable) -> list[slice]:
    """Slices of the first axis of at most `_BLOCK_ELEMENTS` elements each."""
    num_rows = variable.shape[0]
    rows = max(1, _BLOCK_ELEMENTS // (variable.shape.num_elements() // num_rows))
    return [slice(start, start + rows) for start in range(0, num_rows, rows)]
