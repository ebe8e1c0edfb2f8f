"""The validation as a job of a run: what stops it, what the report says, when it is skipped."""

import pytest

from pipelines.artifacts.records import RunPaths
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.publishing import run
from recall.config import RecallConfig
from recall.errors import InputError


def ingest_log(folder, users):
    """A run that has come as far as its examples."""
    path = folder.with_suffix(".csv")
    rows = [f"{user},{item},{n}" for user, items in users.items() for n, item in enumerate(items)]
    path.write_text("\n".join(["user_id,item_id,timestamp", *rows, ""]))
    config = RecallConfig().override(["ingest.num_shards=1"])
    ingest.run_ingest(open_events(str(path)), None, RunPaths.under(folder).examples, config)
    return folder


@pytest.fixture
def nights(tmp_path):
    """Folders of two nights; half of the second one's items are new."""
    before = ingest_log(tmp_path / "before", {"u1": "abcd", "u2": "badc"})
    now = ingest_log(tmp_path / "now", {"u1": "abxy", "u2": "xbay"})
    return now, before


def make_job(nights, *limits):
    now, before = nights
    return run._validation_job(now, RecallConfig().override(limits), before)


def test_a_broken_limit_stops_the_run_and_the_report_says_why(nights):
    job = make_job(nights, "validation.max_new_items=0.4")
    for _ in range(2):  # Also when the same command is given again.
        assert job.find() is None
        with pytest.raises(
            InputError, match=r"new_items is 0\.5 \(validation\.max_new_items=0\.4\)"
        ):
            job.execute()
    text = (nights[0] / "report.html").read_text()
    assert "The log is not fit to be trained on: new_items is 0.5" in text
    assert "share of the items that are new" in text


def test_what_held_the_limits_is_not_done_again(nights):
    job = make_job(nights, "validation.max_new_items=0.5")
    assert job.find() is None
    job.execute()
    assert job.find() == str(nights[0] / "validation")
    assert make_job(nights, "validation.max_new_items=0.6").find() is None
    assert not (nights[0] / "report.html").exists()
