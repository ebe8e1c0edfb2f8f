"""Calls of a store that may come right when they are made again.

Imports no TensorFlow. The library of S3 asks again itself, some seconds long; what takes long to
make, or was damaged on the way, is worth a longer wait.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from serving.stores.failures import DamagedError, StoreAwayError

_ATTEMPTS = 3
PAUSE_S = 1.0
"""Between two attempts, doubled each time."""

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


def retried(call: Callable[[], _Result]) -> _Result:
    """What a call returns, made again where the store was away or what came was damaged.

    Args:
        call: Makes no difference when it is made twice.

    Raises:
        InputError: That of the last attempt, or another failure than these two.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return call()
        except (StoreAwayError, DamagedError) as error:
            _log.warning("%s Trying again (%d of %d).", error, attempt + 1, _ATTEMPTS)
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
    return call()
