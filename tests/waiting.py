"""Waiting for another thread or process, with an end."""

import time
from collections.abc import Callable
from typing import Any

_PAUSE_S = 0.002


def wait_for(condition: Callable[[], Any], timeout_s: float = 60.0) -> None:
    """Returns when a condition holds; fails when it does not hold in time."""
    give_up_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_s, f"it did not happen within {timeout_s:g} s"
        time.sleep(_PAUSE_S)
