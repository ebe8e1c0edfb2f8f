"""A log in S3, a release in S3, a server of it: the real commands, beside a real S3 server."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines import cli
from pipelines.artifacts import records, trained_model
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.release import store_versions
from tests.end_to_end.run_test import RECALL, SETTINGS, TIMEOUT_S, numpy_recall
from tests.waiting import wait_for

DAYS = ("2024-01-01", "2024-01-02")


@pytest.fixture
def environment(s3, tmp_path):
    """Of a machine whose cache is empty."""
    return lambda name: {
        **os.environ,
        **s3.environment,
        "XDG_CACHE_HOME": str(tmp_path / name / "cache"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


@pytest.fixture
def log(s3, bucket, tmp_path):
    """`s3://` of a log of two days, with an items file beside it."""
    words = ["--users=120", "--items=40", "--interests=4", "--events_per_user=10"]
    assert cli.main(["synthesize", f"--output={tmp_path / 'log'}", "--format=csv", *words]) == 0
    header, *rows = (tmp_path / "log" / "events.csv").read_text().splitlines(keepends=True)
    for number, day in enumerate(DAYS):
        part = rows[number * len(rows) // 2 : (number + 1) * len(rows) // 2]
        s3.put(f"{bucket}/logs/day={day}/part-0.csv", "".join([header, *part]).encode())
    s3.put(f"{bucket}/items.csv", (tmp_path / "log" / "items.csv").read_bytes())
    return f"{bucket}/logs"


def recall(environment, *words: str) -> str:
    """What a command prints; it must come to its end."""
    result = subprocess.run(
        [*RECALL, *words], env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert environment["XDG_CACHE_HOME"] not in result.stdout + result.stderr
    return result.stdout + result.stderr


class Served:
    """A `recall serve` process."""

    def __init__(self, environment, *words: str):
        command = [*RECALL, "serve", *words, "--grpc_port=0", "--http_port=0"]
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        match = re.fullmatch(r"serving grpc=(\S+) http=\S+\n", self._process.stdout.readline())
        assert match, self._process.stderr.read()
        self.address = match[1]

    def ask(self, history, k=10):
        return client.query(self.address, RecallRequest(history, k=k), timeout_s=30)

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            assert self._process.wait(timeout=60) == 0
        finally:
            self._process.kill()
            self._process.stdout.close()
            self._process.stderr.close()


@pytest.mark.slow
def test_a_run_from_store_to_store_is_served(s3, bucket, log, environment, tmp_path):
    """One machine trains, another one serves, a third one publishes again."""
    run = f"{bucket}/runs/mine"
    words = [
        "run",
        f"--events={log}",
        f"--items={bucket}/items.csv",
        f"--output={run}",
        *(f"--set={setting}" for setting in SETTINGS),
    ]
    said = recall(environment("trains"), *words)
    assert f"recall serve --release={run}/serving" in said
    (version,) = store_versions.list_versions(f"{run}/serving")
    assert f"Version {version} is published." in said
    assert f"blessed and published as version {version}" in s3.get(f"{run}/report.html").decode()
    names = s3.keys(run)
    assert {"report.html", "model/config.json", "examples/vocabulary.parquet"} <= set(names)

    # Again on another machine: nothing is done anew.
    said = recall(environment("second"), *words)
    assert all(
        re.search(rf"\[\d/\d\] {job} +up to date", said)
        for job in ("ingest", "train", "evaluate", "export", "index", "push")
    ), said

    copy = tmp_path / "second" / "cache" / "recall" / "folders"
    (folder,) = copy.glob("mine-*/mine")
    trained = trained_model.load_model(folder / "model")
    vocabulary = records.read_vocabulary(folder / "examples")
    history = vocabulary.item_ids[:3]
    expected, scores = numpy_recall(trained, vocabulary, history, 10)
    release = (f"--release={run}/serving", "--file_system_poll_wait_seconds=0.2")
    with Served(environment("serves"), *release) as server:
        answer = server.ask(history)
        assert answer.index_version == version
        assert [item.item_id for item in answer.items] == expected
        np.testing.assert_allclose([item.score for item in answer.items], scores, rtol=1e-4)
        said = recall(environment("third"), "push", f"--run={run}")
        newest = store_versions.list_versions(f"{run}/serving")[-1]
        assert newest > version
        assert f"Published version {newest} in {run}/serving" in said
        wait_for(lambda: server.ask(history).index_version == newest)
        assert [item.item_id for item in server.ask(history).items] == expected

    recs = f"{bucket}/recs.parquet"
    recall(
        environment("batch"),
        "recommend",
        f"--release={run}/serving",
        f"--events={log}",
        f"--output={recs}",
        "--k=5",
    )
    (tmp_path / "recs.parquet").write_bytes(s3.get(recs))
    assert pq.read_table(tmp_path / "recs.parquet").num_rows == 120


@pytest.mark.slow
def test_job_by_job_each_on_another_machine(s3, bucket, log, environment):
    """Every job finds what the one before left in the store, and leaves its own there."""
    run = f"{bucket}/run"
    settings = tuple(f"--set={setting}" for setting in SETTINGS)
    examples, model = f"--examples={run}/examples", f"--model={run}/model"
    for number, words in enumerate(
        [
            ("ingest", f"--events={log}", f"--output={run}/examples", *settings),
            ("train", examples, f"--output={run}/model", *settings),
            ("evaluate", examples, model, f"--output={run}/evaluation"),
            ("export", model, f"--output={run}/export"),
            (
                "index",
                f"--export={run}/export",
                examples,
                f"--output={run}/index",
                f"--evaluation={run}/evaluation",
            ),
            ("report", f"--run={run}"),
            ("push", f"--run={run}", f"--serving={bucket}/serving", "--keep=2"),
        ]
    ):
        said = recall(environment(str(number)), *words)
    (version,) = store_versions.list_versions(f"{bucket}/serving")
    assert f"Published version {version} in {bucket}/serving" in said
    assert b"recall@100" in s3.get(f"{run}/evaluation/report.json")
    assert s3.get(f"{run}/report.html").startswith(b"<!doctype html>")
    cache = f"--release_cache={environment('serves')['XDG_CACHE_HOME']}/release"
    with Served(environment("serves"), f"--release={bucket}/serving", cache) as server:
        assert len(server.ask(("i1", "i2")).items) == 10


@pytest.mark.slow
def test_a_server_without_a_release_says_so_in_one_line(s3, bucket, environment):
    result = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "serve", f"--release={bucket}/serving"],
        env=environment("serves"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert result.returncode == 1
    assert result.stderr == (
        f"recall serve: error: {bucket}/serving holds no release: there is no pointer in "
        f"versions/. Run `recall push --serving={bucket}/serving` first, or check the URL.\n"
    )
