"""SIGTERM at any moment of the start: the process ends at once, without a word too many."""

import signal
import subprocess
import sys
import time

import pytest

from tests.benchmarks.serving_release import write_release
from tests.reliability.tally import scaled

pytestmark = pytest.mark.reliability

_AT_ONCE_S = 1.0

_LAST_S = 8.0
"""After which some servers are up; those end with 0."""


def test_sigterm_while_the_server_starts(tmp_path, tally):
    """Also while TensorFlow is imported, and while towers and index are read."""
    stops = scaled(16, at_least=4)
    write_release(tmp_path, 1, 20_000)
    command = [sys.executable, "-m", "pipelines.cli", "serve", f"--release={tmp_path}"]
    command += ["--grpc_port=0", "--http_port=0", "--drain_s=0"]
    tally.start(33, "SIGTERM while the server starts: exit code 143 or 0, within 1 s", stops)
    codes, slowest_s = [], 0.0
    for stop in range(stops):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        # Python itself needs a moment before it can catch a signal.
        time.sleep(0.5 + stop * (_LAST_S - 0.5) / stops)
        process.send_signal(signal.SIGTERM)
        started_s = time.monotonic()
        printed, said = process.communicate(timeout=60)
        seconds = time.monotonic() - started_s
        # A server that is up lets requests finish first.
        is_up = printed.startswith("serving")
        right = process.returncode == (0 if is_up else 143) and "Traceback" not in said
        tally.count(right and (is_up or seconds <= _AT_ONCE_S), (process.returncode, seconds, said))
        codes.append(process.returncode)
        slowest_s = max(slowest_s, 0.0 if is_up else seconds)
    tally.note(f"slowest {slowest_s:.2f} s, {codes.count(143)} of {stops} while it loaded")
