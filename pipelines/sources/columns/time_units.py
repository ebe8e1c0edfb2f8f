"""Which unit of time a number since 1970 is in, told by its size.

Of the years 1973 to 2286, seconds, milliseconds, microseconds and nanoseconds
fill ranges that do not touch. Imports no TensorFlow and opens no file.
"""

import numpy as np

UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

FIRST_TIME_S = 1e8
"""1973-03-03 in seconds; smaller numbers count something else, or nothing."""

_BOUNDS = np.array([1e8, 1e10, 1e11, 1e13, 1e14, 1e16, 1e17, 1e19])
_UNITS = (None, "s", None, "ms", None, "us", None, "ns", None)

SMALL = 0
"""Class of the numbers below `FIRST_TIME_S`, zero and negative ones among them."""


def classify(numbers: np.ndarray | float) -> np.ndarray:
    """Class of each number by its size: 0 is small, odd ones are units, others lie between.

    >>> classify(np.array([-1, 19000, 1.7e9, 1.7e12, 2.0e13])).tolist()
    [0, 0, 1, 3, 4]
    """
    return np.searchsorted(_BOUNDS, numbers, side="right")


def unit_of(size_class: int) -> str | None:
    """`s`, `ms`, `us` or `ns`; None where the size is no unit's."""
    return _UNITS[size_class]


def units_per_second(size_classes: np.ndarray) -> np.ndarray:
    """What to divide numbers of each class by; 1 where the size is no unit's."""
    return np.array([UNITS_PER_SECOND.get(unit, 1) for unit in _UNITS], np.float64)[size_classes]


def name_of(size_class: int) -> str:
    """The unit in words."""
    unit = unit_of(size_class)
    if unit is None:
        return "too small for a time" if size_class == SMALL else "of no unit's size"
    return UNIT_NAMES[unit]
