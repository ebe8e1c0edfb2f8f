"""Inputs of several requests as one batch, and its outputs as theirs again.

Imports no TensorFlow. Rows are padded at the right, with empty ids or zeros:
what a tower reads as the end of a history.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from serving.protocol.status import Code, ServingError

Arrays = Mapping[str, np.ndarray]

_ONE_CLASS = 64
"""Histories up to this length share batches: longer ones, which the tower cuts
anyway, would blow up the matrix of a batch of short ones."""


def num_rows(inputs: Arrays) -> int:
    """Rows of a request."""
    return len(next(iter(inputs.values())))


def can_batch(inputs: Arrays) -> bool:
    """Whether every input has a batch axis, of one size that is not zero."""
    sizes = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
    return len(sizes) == 1 and sizes != {0}


def key_of(inputs: Arrays, *, padded: bool) -> tuple:
    """Requests with equal keys fit into one batch.

    Args:
        inputs: Of one request.
        padded: Whether rows of different lengths may be padded to one.
    """
    return tuple(
        (name, array.dtype.str, _length_classes(array.shape[1:]) if padded else array.shape[1:])
        for name, array in sorted(inputs.items())
    )


def _length_classes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes rounded up to `_ONE_CLASS` and its multiples by powers of two."""
    return tuple(length_class(size) if size else 0 for size in shape)


def length_class(length: int) -> int:
    """Histories of one class may be padded to one length.

    >>> [length_class(length) for length in (1, 64, 65, 200)]
    [64, 64, 128, 256]
    """
    return max(_ONE_CLASS, 1 << max(length - 1, 0).bit_length())


def stack_rows(requests: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Stacks the rows of requests with equal keys.

    >>> a, b = np.array([["x", "y"]], object), np.array([["z"]], object)
    >>> stack_rows([{"ids": a}, {"ids": b}])["ids"].tolist()
    [['x', 'y'], ['z', b'']]
    """
    if len(requests) == 1:
        return dict(requests[0])
    return {name: _stack([request[name] for request in requests]) for name in requests[0]}


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) == 1:
        return np.concatenate(arrays)
    widest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    padding = b"" if arrays[0].dtype == object else 0
    stacked = np.full((sum(map(len, arrays)), *widest), padding, dtype=arrays[0].dtype)
    start = 0
    for array in arrays:
        rows = slice(start, start + len(array))
        stacked[(rows, *(slice(size) for size in array.shape[1:]))] = array
        start += len(array)
    return stacked


def pad_rows(inputs: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """Repeats the last row until the batch has `size` rows; `split` leaves them out."""
    missing = size - num_rows(inputs)
    if missing <= 0:
        return inputs
    return {
        name: np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])
        for name, array in inputs.items()
    }


def split(outputs: Arrays, sizes: Sequence[int]) -> list[dict[str, np.ndarray]]:
    """The outputs of each request.

    Args:
        outputs: Of the batch, which may have more rows.
        sizes: Rows of each request, in their order.

    Raises:
        ServingError: FAILED_PRECONDITION, an output has no row for every row.
    """
    ends = np.cumsum(sizes).tolist()
    for name, array in outputs.items():
        if not array.ndim or len(array) < ends[-1]:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Batched output tensor `{name}` of shape {list(array.shape)} has no row for each "
                f"of the {ends[-1]} rows of the batch.",
            )
    return [
        {name: array[end - size : end] for name, array in outputs.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]
