import json

from pipelines.artifacts import records
from pipelines.reporting.page.blocks import ShownTable
from pipelines.reporting.sections import log, provenance
from pipelines.reporting.sections.run_folder import RunFolder

MADE = {
    "started": "2026-03-01T03:00:00+00:00",
    "finished": "2026-03-01T03:01:05+00:00",
    "duration_s": 65.0,
    "cpu_s": 130.0,
    "peak_memory_bytes": 1_234_000_000,
    "commit": "0123456789abcdef0123-dirty",
    "python": "3.11.4",
    "platform": "Linux-6.1",
    "cpus": 2,
}


def table(section, caption):
    return next(b for b in section.blocks if isinstance(b, ShownTable) and b.caption == caption)


def test_how_the_jobs_went(old_run):
    path = old_run / "model" / records.RECORD_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "made": MADE}))
    section = provenance.build(RunFolder.read(old_run), None)
    assert list(table(section, "How the jobs went").rows) == [
        ("train", "2026-03-01 03:01", "1 min 5 s", "2 min 10 s", "1.23 GB")
    ]
    software = dict(table(section, "Software").rows)
    assert software["recall, commit"] == "0123456789ab-dirty"
    assert software["machine"] == "Linux-6.1, 2 processors"


def test_a_run_of_an_earlier_version_says_nothing_of_it(old_run):
    section = provenance.build(RunFolder.read(old_run), None)
    assert "How the jobs went" not in {getattr(block, "caption", "") for block in section.blocks}
    assert "recall, commit" not in dict(table(section, "Software").rows)


def test_how_the_log_was_split(old_run):
    path = old_run / "examples" / records.STATISTICS_NAME
    split = {
        "protocol": "temporal",
        "clock": {
            "valid_from": "2024-03-04",
            "test_from": "2024-03-06",
            "embargo_days": 0.5,
            "chosen_by": "date",
            "targets_of_a_user": None,
        },
        "sessions_of_users": 1234,
        "session_gap_minutes": 30.0,
        "spans": {"train": ["2024-03-01", "2024-03-03"]},
        "cold_users": {"valid": 1, "test": 2},
        "cold_targets": {"valid": 3, "test": 4},
    }
    path.write_text(json.dumps({**json.loads(path.read_text()), "split": split}))
    section = log.build(RunFolder.read(old_run))
    assert list(table(section, "How it was split").rows) == [
        ("Protocol", "temporal"),
        ("Users are sessions", "of 1,234 users"),
        ("Validation from (UTC)", "2024-03-04"),
        ("Test from (UTC)", "2024-03-06"),
        ("Chosen by", "date"),
        ("History only before either, days", "0.5"),
        ("Clicks to predict of a user", "all"),
        ("Training, first to last click", "2024-03-01 to 2024-03-03"),
        ("Validation: users that training does not know", "1"),
        ("Validation: clicks on items that training does not know", "3"),
        ("Test: users that training does not know", "2"),
        ("Test: clicks on items that training does not know", "4"),
    ]
