"""Counts of the reliability suite: n of n, printed as a table when the tests end.

`RELIABILITY_SCALE=0.05` runs a twentieth of every count and time, for work on the
tests; `RELIABILITY_JSON=FILE` also writes the table as JSON.
"""

import os
import time
from pathlib import Path

import pytest

from serving import storage
from tests.serving.server_process import ServerProcess
from tests.serving.conftest import (  # noqa: F401  fixtures
    ReleaseFolder,
    catalogue,
    release_dir,
    release_folder,
    staged_releases,
)

_ROWS = pytest.StashKey[list[dict]]()

_SCALE = float(os.environ.get("RELIABILITY_SCALE", "1"))


def scaled(full: int, at_least: int = 1) -> int:
    """A count of the suite: `full`, or less where a smaller scale is asked for."""
    return max(at_least, round(full * _SCALE))


class Tally:
    """What one test counts: how many times something held, of how many.

    Attributes:
        number: Row of the table.
        title: What must hold.
        held: Times it did.
        wanted: Times it must.
        facts: Numbers worth printing, as text.
    """

    def __init__(self):
        self.number = 0
        self.title = ""
        self.held = 0
        self.wanted = 0
        self.facts: list[str] = []

    def start(self, number: int, title: str, wanted: int) -> None:
        """Names the row before the first count."""
        self.number, self.title, self.wanted = number, title, wanted

    def count(self, held: bool, what: object = "") -> None:
        """Counts one time; the first failures are kept for the report."""
        self.held += bool(held)
        if not held and len(self.facts) < 5:
            self.facts.append(f"failed: {what}")

    def note(self, fact: str) -> None:
        """Adds a number to the row."""
        self.facts.append(fact)


@pytest.fixture
def tally(request):
    """The row of a test; the test fails when a count is not full."""
    row, start_s = Tally(), time.monotonic()
    yield row
    rows = request.config.stash.setdefault(_ROWS, [])
    seconds = round(time.monotonic() - start_s, 1)
    rows.append({**vars(row), "seconds": seconds})
    assert row.wanted, "the test counts nothing"
    assert row.held == row.wanted, row.facts


def pytest_terminal_summary(terminalreporter, config):
    """Prints the table, in the order of its numbers."""
    rows = sorted(config.stash.get(_ROWS, []), key=lambda row: row["number"])
    if not rows:
        return
    terminalreporter.section("reliability")
    for row in rows:
        verdict = "ok  " if row["held"] == row["wanted"] else "FAIL"
        count = f"{row['held']:,} of {row['wanted']:,}"
        line = f"{row['number']:>2} {verdict} {count:>20}  {row['title']}"
        facts = f" ({'; '.join(row['facts'])})" if row["facts"] else ""
        terminalreporter.write_line(f"{line}{facts}, {row['seconds']:.0f} s")
    passed = sum(row["held"] == row["wanted"] for row in rows)
    terminalreporter.write_line(f"{passed} of {len(rows)} rows, scale {_SCALE:g}")
    if path := os.environ.get("RELIABILITY_JSON"):
        storage.write_json(Path(path), {"scale": _SCALE, "rows": rows})


@pytest.fixture
def start_server(tmp_path):
    """Starts server processes; they end with the test."""
    started = []

    def start(serving_dir, **arguments) -> ServerProcess:
        log = tmp_path / f"server-{len(started)}.log"
        started.append(ServerProcess(serving_dir, log, **arguments))
        return started[-1]

    yield start
    for server in started:
        server.kill()
