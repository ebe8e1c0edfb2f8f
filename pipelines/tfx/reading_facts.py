"""What ExampleGen found out about a log, put into the report of the ingest that follows.

The ingest reads ExampleGen's events, of which none is bad and all times are microseconds;
people want to know about the log. Imports no TensorFlow and no TFX.
"""

import json
import logging
from pathlib import Path

from pipelines.artifacts import records
from pipelines.ingestion import report as ingest_report
from pipelines.sources.columns.time_findings import FIRST_S, LAST_S
from pipelines.sources.events import EventSource
from serving.release import storage

_log = logging.getLogger(__name__)


def collect(source: EventSource) -> str:
    """The facts of a log that was just read, as JSON."""
    bad_rows = source.bad_rows
    return json.dumps(
        {
            "left_out_by_where": source.rows_left_out,
            "times": source.times,
            "bad_rows": {"rows": bad_rows.total, "reasons": bad_rows.to_dict()},
        }
    )


def put_into_report(examples_dir: str | Path, facts: str) -> None:
    """Makes the ingest's report one about the log, and logs the lines that this adds.

    Args:
        examples_dir: Folder of the examples.
        facts: Of `collect`.
    """
    path = Path(examples_dir) / records.INGEST_REPORT_NAME
    report, found = storage.read_json(path), json.loads(facts)
    known = set(report["lines"])
    report["left_out_by_where"] = found["left_out_by_where"]
    span = {name: report["times"][name] for name in (FIRST_S, LAST_S) if name in report["times"]}
    report["times"] = {**found["times"], **span}
    report["dropped"]["bad_rows"] = found["bad_rows"]
    report["lines"] = ingest_report.report_lines(report)
    storage.write_json(path, report)
    for line in report["lines"]:
        if line not in known:
            _log.info("%s", line)
