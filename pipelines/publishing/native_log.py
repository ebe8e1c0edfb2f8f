"""What native code writes to the standard error, past Python's logging. Imports no TensorFlow."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

_STDERR = 2
"""Number of the standard error as the system knows it."""


@contextlib.contextmanager
def quiet_native_code() -> Iterator[None]:
    """Drops what C++ code writes to the standard error inside the block.

    ScaNN logs its building there, past Python's logging and without a switch
    of its own. With `--verbosity=1` it is shown.
    """
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        yield
        return
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
