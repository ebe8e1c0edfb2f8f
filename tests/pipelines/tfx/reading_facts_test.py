"""The report of the ingest after ExampleGen tells of the log, as that of the log itself."""

import json
import logging

from pipelines.artifacts import records
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.sources.columns.read_options import ReadOptions
from pipelines.sources.columns.where import parse_conditions
from pipelines.tfx import event_examples, reading_facts
from recall.config import RecallConfig

HEADER = "user_id,item_id,timestamp,event\n"
ROWS = [f"u{u},i{(u + t) % 6},{1_600_000_000 + t},buy\n" for u in range(8) for t in range(6)]
BAD = ["u0,,1600000000,buy\n", "u1,i1,1600000009,view\n"]


def test_bad_rows_conditions_and_times_are_those_of_the_log(tmp_path, caplog):
    log = tmp_path / "log.csv"
    log.write_text(HEADER + "".join(ROWS + BAD))
    config = RecallConfig().override(["ingest.num_shards=2", "model.max_history_length=8"])
    source = open_events(str(log), where=parse_conditions(["event=buy"]))
    expected = ingest.run_ingest(source, None, tmp_path / "direct", config, max_bad_rows=1)

    event_examples.write_events(source, tmp_path / "Split-log", 1)
    facts = reading_facts.collect(source)
    event_examples.events_to_parquet(tmp_path / "Split-log", tmp_path / "events.parquet")
    parquet = str(tmp_path / "events.parquet")
    events = open_events(parquet, options=ReadOptions(timestamp_unit="us"))
    events.spec = events.name = str(log)
    ingest.run_ingest(events, None, tmp_path / "examples", config)
    with caplog.at_level(logging.INFO, "pipelines.tfx.reading_facts"):
        reading_facts.put_into_report(tmp_path / "examples", facts)

    found = json.loads((tmp_path / "examples" / records.INGEST_REPORT_NAME).read_text())
    assert found == json.loads(json.dumps(expected))
    assert found["left_out_by_where"] == 1
    assert found["dropped"]["bad_rows"]["rows"] == 1
    assert any("Skipped 1 bad rows (an empty item id)" in line for line in caplog.messages)
    assert any("Left out 1 rows by --where" in line for line in caplog.messages)
