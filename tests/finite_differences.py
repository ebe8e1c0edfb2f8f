"""Gradients by central differences, for tests of hand-written gradients."""

from collections.abc import Callable, Sequence

import numpy as np

_STEP = 1e-5


def differentiate(compute: Callable[..., float], arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The derivative of `compute(*arrays)` by every entry, in float64, shaped like `arrays`."""
    gradients = []
    for number, array in enumerate(arrays):
        gradient = np.zeros(array.shape)
        for index in np.ndindex(*array.shape):
            values = [other.astype(np.float64) for other in arrays]
            values[number][index] += _STEP
            above = compute(*values)
            values[number][index] -= 2 * _STEP
            gradient[index] = (above - compute(*values)) / (2 * _STEP)
        gradients.append(gradient)
    return gradients
