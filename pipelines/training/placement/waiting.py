"""Ctrl-C and SIGTERM while TensorFlow waits for the other processes of a job. No TensorFlow."""

import contextlib
import signal
import threading
from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def ending_at_signals() -> Iterator[None]:
    """Lets the system end this process where it is asked to inside the block.

    TensorFlow waits there without an end in native code and keeps Python's lock, so that no code of
    ours runs, neither a handler nor another thread. Nothing has been begun that were cleaned up. It
    also takes SIGTERM for itself, and would keep it: behind the block our handler is back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # As shells start background jobs.
            signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
