"""How a process that works on large arrays keeps its memory. Imports no TensorFlow."""

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of the settings in `malloc.h` of the GNU C library."""

_KEPT_BYTES = 256 << 20
"""At the end of the heap; what is more goes back to the system."""

_HEAP_BYTES = 32 << 20
"""Larger arrays have pages of their own, which go back when they are freed. The most that all
versions of the library take."""


def keep_freed() -> bool:
    """Lets the C library keep what is freed for the next array of some megabytes.

    By default it gives each such array back to the system, which hands out zeroed pages for
    the next one: half of the system's time, and a fifth of all, when a day is added to a log.

    Returns:
        Whether the library has such settings.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        kept = mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        return bool(kept and mallopt(_MMAP_THRESHOLD, _HEAP_BYTES))
    return False
