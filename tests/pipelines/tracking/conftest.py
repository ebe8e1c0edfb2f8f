"""Folders of runs as the jobs leave them, with numbers that are known."""

import json

import pytest

JOB_FOLDERS = {"ingest": "examples", "train": "model", "evaluate": "evaluation"}


def write_run(
    folder, *, dim=64, recall=0.25, day=1, log="shop.csv", jobs=tuple(JOB_FOLDERS), events="e"
):
    """A run with these finished jobs; ingest took 1 s, training 61 s and evaluation 2 s."""
    settings = {
        "ingest": {"ingest": {"protocol": "leave_one_out"}, "model": {"max_history_length": 50}},
        "train": {"model": {"dim": dim, "max_history_length": 50}, "train": {"seed": 1}},
        "evaluate": {"evaluation": {"ks": [10]}},
    }
    inputs = {"ingest": {"events": events * 64}, "train": {"examples": "x"}, "evaluate": {}}
    seconds = {"ingest": 1.0, "train": 61.0, "evaluate": 2.0}
    for job in jobs:
        directory = folder / JOB_FOLDERS[job]
        directory.mkdir(parents=True)
        record = {
            "job": job,
            "settings": settings[job],
            "inputs": inputs[job],
            "versions": {"recall": "0.1.0"},
            "made": {
                "started": f"2026-03-0{day}T03:00:00+00:00",
                "finished": f"2026-03-0{day}T03:0{len(job) - 5}:07+00:00",
                "duration_s": seconds[job],
                "cpu_s": 2 * seconds[job],
                "peak_memory_bytes": 1_500_000_000 if job == "train" else 400_000_000,
                "commit": "0123456789abcdef0123",
                "python": "3.11.4",
                "platform": "Linux",
                "cpus": 2,
            },
        }
        (directory / "artifact.json").write_text(json.dumps(record))
    files = {
        "examples/ingest_report.json": {"source": log, "kept": {"users": 1200, "items": 300}},
        "evaluation/report.json": {
            "test": {"recall@10": recall, "ndcg@10": 0.125, "standard_errors": {"recall@10": 0.5}},
            "validation": {"recall@10": 0.5},
            "baselines": {"popularity": {"recall@10": 0.0625}},
            "index": None,
            "blessing": {"blessed": True},
        },
    }
    for name, values in files.items():
        if (folder / name).parent.exists():
            (folder / name).write_text(json.dumps(values))
    if "train" in jobs:
        lines = [
            {"epoch": n, "seconds": 30.5, "loss": 8.0 / n, "val_recall@10": 0.5} for n in (1, 2)
        ]
        (folder / "model" / "training_log.jsonl").write_text(
            "\n".join(map(json.dumps, lines)) + "\n"
        )
        (folder / "model" / "config.json").write_text("{}")
    return folder


@pytest.fixture
def run_writer():
    """`write_run`, for test files, which cannot import each other."""
    return write_run


@pytest.fixture
def two_runs(tmp_path):
    """`before` of the second and `shops/mine` of the third of March, of other settings."""
    write_run(tmp_path / "before", day=2)
    write_run(tmp_path / "shops" / "mine", dim=128, recall=0.375, day=3)
    return tmp_path
