"""The same files from every runner, and after kills of real processes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.artifacts import records
from pipelines.inference import jobs
from pipelines.inference.answers import RecommendUsers

ROOT = Path(__file__).parents[3]
WANTED = RecommendUsers(k=7, fields={}, skip_unknown=False, with_reasons=True)


def recommend(world, output, *beam_args):
    options = jobs.JobOptions(world.serving_dir, output, beam_args, rows_per_file=2)
    return jobs.write_recommendations(jobs.Users(world.source()), WANTED, options)


def contents(output):
    """All files but the record, which also says how long the job took."""
    return {
        path.relative_to(output): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name != records.RECORD_NAME
    }


@pytest.mark.slow
def test_processes_write_the_same_files(world, tmp_path):
    counts = recommend(world, tmp_path / "one")
    flags = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    assert recommend(world, tmp_path / "two", *flags) == counts
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


@pytest.mark.slow
def test_a_cluster_of_dask_writes_the_same_files(world, tmp_path):
    distributed = pytest.importorskip("distributed", reason="pip install 'apache-beam[dask]'")
    counts = recommend(world, tmp_path / "here")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
    ):
        flags = ("--runner=DaskRunner", f"--dask_client_address={cluster.scheduler_address}")
        assert recommend(world, tmp_path / "dask", *flags) == counts
    assert contents(tmp_path / "dask") == contents(tmp_path / "here")


@pytest.mark.slow
def test_a_killed_process_goes_on_where_it_was(world, tmp_path):
    recommend(world, tmp_path / "whole")
    command = [
        sys.executable,
        "-m",
        "pipelines.cli",
        "recommend",
        f"--release={world.serving_dir}",
        f"--events={world.log}",
        "--k=7",
        "--rows_per_file=2",
        "--progress=off",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    generator = random.Random(0)
    output = tmp_path / "killed"
    work = tmp_path / ".killed.work"
    kills = 0
    for _ in range(3):
        with subprocess.Popen(
            [*command, f"--output={output}"], env=environment, stderr=subprocess.DEVNULL
        ) as process:
            while not work.exists() and process.poll() is None:
                time.sleep(0.01)
            time.sleep(generator.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
    assert kills
    assert (
        subprocess.run([*command, f"--output={output}"], env=environment, check=False).returncode
        == 0
    )
    assert contents(output) == contents(tmp_path / "whole")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
