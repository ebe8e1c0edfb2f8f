"""A user with very many events: what training still learns from, and what is said."""

import numpy as np
import pytest

from pipelines.artifacts import held_out, records
from pipelines.ingestion import ingest, sequences
from pipelines.ingestion import report as ingest_report
from pipelines.ingestion.open_log import open_events
from pipelines.ingestion.sequences import Part
from recall.config import RecallConfig
from recall.errors import InputError

ROBOT_EVENTS = 400


def write_log(path, num_people=30):
    """A robot that clicks r0, r1, ... once each, and people of 6 clicks on shared items."""
    rows = [f"robot,r{at},{at}\n" for at in range(ROBOT_EVENTS)]
    rows += [f"p{user},i{at},{at}\n" for user in range(num_people) for at in range(6)]
    path.write_text("user_id,item_id,timestamp\n" + "".join(rows))
    return str(path)


def report_of(tmp_path, *settings):
    config = RecallConfig().override(["ingest.num_shards=2", *settings])
    report = ingest.run_ingest(
        open_events(write_log(tmp_path / "log.csv")), None, tmp_path / "examples", config
    )
    return report, ingest_report.report_lines(report)


def test_the_latest_events_are_learnt_from_and_the_others_are_history(tmp_path):
    report, lines = report_of(tmp_path, "ingest.max_user_events=100")
    # 398 of the robot's events are for training, the last two are held out.
    assert report["capped_users"] == {
        "users": 1,
        "events": 298,
        "first": [{"user_id": "robot", "events": 400, "history_only": 298}],
    }
    # 99 targets of the robot, 3 of each of the 30 people (4 training events).
    assert report["splits"]["train"]["targets"] == 99 + 90
    assert report["splits"]["train"]["events"] == 100 + 120
    vocabulary = records.read_vocabulary(tmp_path / "examples")
    counts = dict(zip(vocabulary.item_ids, vocabulary.counts.tolist(), strict=True))
    assert (counts["r297"], counts["r298"], counts["r397"], counts["r398"]) == (0, 1, 1, 0)
    windows = held_out.read_training_windows(tmp_path / "examples")
    clicks = np.concatenate([batch.values for batch in windows])
    assert len({dense for dense in clicks if vocabulary.item_ids[dense - 2][0] == "r"}) == 100
    (line,) = (line for line in lines if "ingest.max_user_events)" in line)
    assert line.startswith("Warning: 1 user with more events")
    assert "User 'robot' has 400 of the log's 580 events (69.0%)" in line


def test_its_held_out_tasks_keep_the_whole_history(tmp_path):
    report_of(tmp_path, "ingest.max_user_events=100")
    tasks = held_out.read_held_out(tmp_path / "examples", "test")
    item_ids = records.read_vocabulary(tmp_path / "examples").item_ids
    at = tasks.user_ids.tolist().index(b"robot")
    history = tasks.histories.take(np.array([at])).values
    assert [item_ids[dense - 2] for dense in history] == [f"r{n}" for n in range(399)]
    assert [item_ids[d - 2] for d in tasks.positives.take(np.array([at])).values] == ["r399"]


def test_without_a_limit_a_large_share_is_a_warning(tmp_path):
    report, lines = report_of(tmp_path, "ingest.max_user_events=null")
    assert report["capped_users"] == {"users": 0, "events": 0, "first": []}
    # 397 of 397 + 90 training targets.
    assert report["largest_user"] == {"user_id": "robot", "targets": 397, "share": 0.8152}
    (line,) = (line for line in lines if "'robot'" in line)
    assert line.startswith("Warning: user 'robot' makes 81.5% of the training targets (397)")


def test_users_below_the_default_limit_are_left_alone(tmp_path):
    report, _ = report_of(tmp_path)
    assert RecallConfig().ingest.max_user_events == 5000
    assert report["capped_users"]["users"] == 0
    with pytest.raises(InputError, match="max_user_events"):
        RecallConfig().override(["ingest.max_user_events=1"])


def test_only_training_events_count():
    offsets = np.array([0, 5, 7])
    T, V, C = Part.TRAIN, Part.VALID, Part.CONTEXT
    parts = np.array([T, C, T, V, T, T, T], np.int8)
    marked = sequences.mark_beyond_latest(offsets, parts, 2)
    assert marked.tolist() == [True, False, False, False, False, False, False]
    marked = sequences.mark_beyond_latest(offsets, parts, 1)
    assert marked.tolist() == [True, False, True, False, False, True, False]
