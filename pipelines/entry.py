"""The console script `recall`, and `python -m pipelines.train`: an interrupt is always one line.

It imports next to nothing. The command takes some hundredths of a second to import, in which
nothing begins that would have to be cleaned up, and Python would answer with a traceback.
"""

import os
import signal
import sys
from types import FrameType

_EXIT_SIGNAL = 128
"""Shells report a process that signal n ended as 128 + n."""


def start(*words: str) -> int:
    """Runs the command line of the process, after `words`; the exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from pipelines import cli  # It sets handlers that clean up.

    return cli.main([*words, *sys.argv[1:]], catch_signals=True)


def _leave(number: int, _: FrameType | None) -> None:
    os.write(sys.stderr.fileno(), b"recall: interrupted.\n")
    os._exit(_EXIT_SIGNAL + number)
