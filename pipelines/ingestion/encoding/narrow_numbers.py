"""Numbers in four bytes where that loses nothing: what steps leave for each other is half as large.

Of a log of 10^8 events the disk is waited for, not the processor. Imports no TensorFlow.
"""

import numpy as np

_END = 1 << 32


def narrow(numbers: np.ndarray) -> np.ndarray:
    """The same numbers as uint32, if all are whole, at least 0 and below 2^32.

    >>> narrow(np.array([0.0, 1.7e9])).dtype, narrow(np.array([0.5])).dtype
    (dtype('uint32'), dtype('float64'))
    """
    if (
        numbers.itemsize <= 4
        or len(numbers) == 0
        or not (numbers.min() >= 0 and numbers.max() < _END)
    ):
        return numbers
    small = numbers.astype(np.uint32)
    is_same = numbers.dtype.kind != "f" or np.array_equal(small, numbers)
    return small if is_same else numbers
