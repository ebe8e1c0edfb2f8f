"""The same examples on every runner, with any number of processes, and after any crash."""

import os
import random
import signal
import subprocess
import sys
import time

import distributed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.sources import file_source
from pipelines.sources.tables import file_parts
from recall.config import RecallConfig
from serving.release import storage
from tests.rooms import ROOT


def content_of(examples_dir):
    """Checksums of all files but the record, which says how long the job took."""
    checksums = storage.sha256_of_tree(examples_dir)
    assert checksums.pop("artifact.json")
    return checksums


def write_log(folder, num_files=5, num_events=4_000):
    """Files of both formats; users and items are in all of them, times are not in order."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number in range(num_files):
        table = pa.table(
            {
                "user_id": [f"u{user}" for user in rng.integers(0, 500, num_events)],
                "item_id": [f"i{item}" for item in rng.zipf(1.4, num_events) % 300],
                "timestamp": 1_700_000_000 + rng.integers(0, 30 * 86_400, num_events),
            }
        )
        path = folder / f"{number}.parquet"
        if number % 2:
            table.to_pandas().to_csv(path.with_suffix(".csv"), index=False)
        else:
            pq.write_table(table, path, row_group_size=700)
    return folder


def ingest_log(log, output, *beam_args):
    config = RecallConfig().override(["ingest.num_shards=3", "ingest.min_item_events=2"])
    report = ingest.run_ingest(open_events(str(log)), None, output, config, beam_args=beam_args)
    return content_of(output), report


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("data") / "log")


@pytest.fixture(scope="module")
def expected(log, tmp_path_factory):
    """What one reader of whole files makes."""
    return ingest_log(log, tmp_path_factory.mktemp("whole") / "examples")


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(file_source, "_SPLIT_BYTES", 1)
    monkeypatch.setattr(file_parts, "PART_ROWS", 1_000)
    monkeypatch.setattr(file_parts, "PART_BYTES", 20_000)


def test_parts_of_files_give_the_bytes_of_whole_ones(tmp_path, log, expected, small_parts):
    assert len(open_events(str(log)).work_units()) > 10
    assert ingest_log(log, tmp_path / "examples") == expected


def test_a_file_may_be_read_before_those_that_come_first(
    tmp_path, log, expected, small_parts, monkeypatch
):
    from pipelines.ingestion.step_runner import StepRunner

    def run_backwards(self, step, numbers):
        for number in reversed(numbers):
            step(number)

    monkeypatch.setattr(StepRunner, "run", run_backwards)
    assert ingest_log(log, tmp_path / "examples") == expected


def test_beams_local_runner(tmp_path, log, expected, small_parts):
    assert ingest_log(log, tmp_path / "examples", "--runner=DirectRunner") == expected


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_processes_of_beam(tmp_path, log, expected, small_parts, workers):
    flags = [f"--direct_num_workers={workers}", "--direct_running_mode=multi_processing"]
    assert ingest_log(log, tmp_path / "examples", *flags) == expected


@pytest.mark.slow
def test_a_cluster_of_dask(tmp_path, log, expected, small_parts):
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        flags = ["--runner=DaskRunner", f"--dask_client_address={cluster.scheduler_address}"]
        assert ingest_log(log, tmp_path / "examples", *flags) == expected


@pytest.mark.slow
def test_killed_at_20_random_moments(tmp_path, log):
    """The command is killed as it works; the same command again makes the same artifact."""
    log, output = write_log(tmp_path / "log", num_events=150_000), tmp_path / "examples"
    command = [sys.executable, "-m", "pipelines.ingest", f"--events={log}", f"--output={output}"]
    command += ["--set=ingest.num_shards=8", "--set=ingest.min_item_events=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start():
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, env=environment, cwd=tmp_path, **quiet)

    started_s = time.monotonic()
    assert start().wait() == 0
    duration_s = time.monotonic() - started_s
    expected = content_of(output)
    moments, killed = random.Random(7), 0
    while killed < 20:
        subprocess.run(["rm", "-r", str(output)], check=True)
        process = start()
        try:
            process.wait(moments.uniform(0.05, 0.95) * duration_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        assert start().wait() == 0
        assert content_of(output) == expected
        assert sorted(path.name for path in tmp_path.iterdir()) == ["examples", "log"]
