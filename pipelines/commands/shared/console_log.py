"""What a command prints while it works: short lines on stderr.

Our own progress is shown from INFO on, other packages' messages only from
ERROR on; `--verbosity=1` shows everything.
"""

import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from absl import flags
from absl import logging as absl_logging

from serving.monitoring.json_log import JsonFormatter, TextFormatter

_ROOT = Path(__file__).parents[3]
_PACKAGES = ("recall", "serving", "pipelines")
_OWN_FOLDERS = tuple(f"{_ROOT / package}{os.sep}" for package in _PACKAGES)


class StderrHandler(logging.StreamHandler):
    """Writes to what `sys.stderr` is now, as the standard library's last resort does."""

    def __init__(self):
        logging.Handler.__init__(self)
        self.setFormatter(TextFormatter())

    @property
    def stream(self) -> TextIO:
        """The standard error stream of this moment."""
        return sys.stderr


def set_up(verbosity: int) -> None:
    """Prepares logging for one command.

    Args:
        verbosity: -1 warnings only, 0 progress, 1 everything.
    """
    flags.FLAGS.mark_as_parsed()  # absl would warn about flags that nobody parses
    everything = verbosity > 0
    # Read when TensorFlow is imported. Its start-up complains at level ERROR where there is no GPU.
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0" if everything else "3"
    os.environ.setdefault("GRPC_VERBOSITY", "INFO" if everything else "NONE")
    root = logging.getLogger()
    handler = next((h for h in root.handlers if isinstance(h, StderrHandler)), None)
    if handler is None:
        handler = StderrHandler()
        root.addHandler(handler)
    handler.filters = [] if everything else [_is_worth_showing]
    root.setLevel(logging.DEBUG if everything else logging.WARNING)
    absl_logging.set_verbosity(verbosity)
    for package in _PACKAGES:
        logging.getLogger(package).setLevel(logging.INFO - 10 * verbosity)


def log_json() -> None:
    """Makes every line from now on a JSON object."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, StderrHandler):
            handler.setFormatter(JsonFormatter())


def _is_worth_showing(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR or record.pathname.startswith(_OWN_FOLDERS)
