"""Counts of the reliability suite: n of n, printed as a table when the tests end.

`RELIABILITY_SCALE=0.05` runs a twentieth of every count and time, for work on the
tests; `RELIABILITY_JSON=FILE` also writes the table as JSON.
"""

import os
import time
from pathlib import Path

import pytest

from serving.release import storage
from tests.reliability.tally import SCALE, Tally
from tests.serving.conftest import (  # noqa: F401  fixtures
    catalogue,
    release_dir,
    release_folder,
    staged_releases,
)
from tests.serving.server_process import ServerProcess

_ROWS = pytest.StashKey[list[dict]]()
_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Remembers a failure, for a test may fail with a full count."""
    report = yield
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed
    return report


@pytest.fixture
def tally(request):
    """The row of a test; the test fails when a count is not full."""
    row, start_s = Tally(request.node.name), time.monotonic()
    yield row
    seconds = round(time.monotonic() - start_s, 1)
    passed = row.held == row.wanted and not request.node.stash[_FAILED]
    rows = request.config.stash.setdefault(_ROWS, [])
    rows.append({**vars(row), "passed": passed, "seconds": seconds})
    assert row.wanted, "the test counts nothing"
    assert row.held == row.wanted, row.facts


def pytest_terminal_summary(terminalreporter, config):
    """Prints the table, in the order of its numbers."""
    rows = sorted(config.stash.get(_ROWS, []), key=lambda row: row["number"])
    if not rows:
        return
    terminalreporter.section("reliability")
    for row in rows:
        verdict = "ok  " if row["passed"] else "FAIL"
        count = f"{row['held']:,} of {row['wanted']:,}"
        line = f"{row['number']:>2} {verdict} {count:>20}  {row['title']}"
        facts = f" ({'; '.join(row['facts'])})" if row["facts"] else ""
        terminalreporter.write_line(f"{line}{facts}, {row['seconds']:.0f} s")
    passed = sum(row["passed"] for row in rows)
    minutes = sum(row["seconds"] for row in rows) / 60
    terminalreporter.write_line(f"{passed} of {len(rows)} rows, scale {SCALE:g}, {minutes:.1f} min")
    if path := os.environ.get("RELIABILITY_JSON"):
        storage.write_json(Path(path), {"scale": SCALE, "rows": rows})


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
