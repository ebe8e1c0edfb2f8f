"""A chief, a worker and two parameter servers as real processes of this machine."""

import json
import socket

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts.trained_model import load_model
from pipelines.training.placement import parameter_servers
from pipelines.training.placement.cluster import Cluster
from recall.config import RecallConfig
from tests.pipelines.training import features_of_all
from tests.pipelines.training.placement import training_processes as jobs

NUM_ITEMS, DIM = 4200, 32
"""A table of 4,202 rows of 128 bytes: twice what a server gets at least."""

SETTINGS = (
    f"model.dim={DIM}",
    "loss.num_negatives=64",
    "train.batch_slots=64",
    "model.dropout_rate=0",
    "loss.negatives=queue",
    "train.learning_rate=0.01",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, examples_writer):
    folder = tmp_path_factory.mktemp("servers")
    generator = np.random.default_rng(0)
    sequences = [generator.integers(0, NUM_ITEMS, 8).tolist() for _ in range(60)]
    examples_writer(folder / "examples", sequences, NUM_ITEMS, 7)
    return folder


def start(folder, name, *settings, examples="examples"):
    """The processes, the chief first, their log, and what starts the worker again."""
    addresses = jobs.free_addresses(4)
    cluster = {"chief": addresses[:1], "worker": addresses[1:2], "ps": addresses[2:]}
    log = folder / f"{name}.log"
    arguments = jobs.command(folder / examples, folder / name, *settings)
    tasks = [("chief", 0), ("worker", 0), ("ps", 0), ("ps", 1)]
    processes = [jobs.start(arguments, cluster, task, log=log) for task in tasks]
    return processes, log, lambda: jobs.start(arguments, cluster, tasks[1], log=log)


def shapes(checkpoint_dir):
    path = tf.train.latest_checkpoint(str(checkpoint_dir))
    return [tuple(shape) for _, shape in tf.train.list_variables(path)]


@pytest.mark.slow
def test_a_job_with_one_worker_has_the_numbers_of_one_device(folder, examples_writer):
    """It takes the steps in the order of a job that is alone."""
    examples = folder / "small"
    examples_writer(examples, jobs.chains(61), jobs.NUM_ITEMS, 7)
    alone_log = folder / "alone.log"
    alone = jobs.start(jobs.command(examples, folder / "alone", *SETTINGS), log=alone_log)
    jobs.finish([alone], alone_log)
    processes, log, _ = start(folder, "small_served", *SETTINGS, examples="small")
    jobs.finish(processes, log)

    assert "strategy parameter_server, 1 worker, 2 servers, 64 slots a step" in log.read_text()
    expected = jobs.read_log(folder / "alone")
    found = jobs.read_log(folder / "small_served")
    assert found == [pytest.approx(line, abs=2e-5) for line in expected]
    tables = [
        load_model(folder / name).model.item_tower.embeddings for name in ("alone", "small_served")
    ]
    np.testing.assert_allclose(tables[1], tables[0], atol=2e-5)


@pytest.mark.slow
def test_features_of_everyone_have_the_numbers_of_one_device(tmp_path):
    """Items, users, clicks and requests: what is known of items lies on the servers, too."""
    rng = np.random.default_rng(3)
    events = ["user_id,item_id,timestamp,device,place"]
    for user in range(60):
        for time in range(8):
            item, device, place = rng.integers(20), rng.integers(3), rng.integers(2)
            events.append(f"u{user},i{item},{time},d{device},p{place}")
    settings = (*SETTINGS, f"features.columns={json.dumps(features_of_all.COLUMNS)}")
    config = RecallConfig().override([*jobs.SETTINGS, *settings])
    features_of_all.make_examples(tmp_path, events, config, num_users=50)

    alone_log = tmp_path / "alone.log"
    alone = jobs.start(
        jobs.command(tmp_path / "examples", tmp_path / "alone", *settings), log=alone_log
    )
    jobs.finish([alone], alone_log)
    processes, served_log, _ = start(tmp_path, "served", *settings)
    jobs.finish(processes, served_log)

    expected = jobs.read_log(tmp_path / "alone")
    found = jobs.read_log(tmp_path / "served")
    assert found == [pytest.approx(line, abs=2e-5) for line in expected]
    towers = [load_model(tmp_path / name).model.item_tower for name in ("alone", "served")]
    vectors = [tower(np.arange(2, 27)).numpy() for tower in towers]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=2e-5)


@pytest.mark.slow
def test_a_large_table_lies_on_the_servers_in_halves(folder):
    processes, log, _ = start(folder, "servers", *SETTINGS)
    jobs.finish(processes, log)

    saved = shapes(folder / "servers" / "checkpoints")
    # The rows and their averages; TensorFlow writes the two moments of Adam as one tensor each.
    assert saved.count((NUM_ITEMS // 2 + 1, DIM)) == 2 * 2
    assert saved.count((NUM_ITEMS + 2, DIM)) == 2
    losses = [line["loss"] for line in jobs.read_log(folder / "servers")]
    assert losses[2] < losses[1] < losses[0]
    # What is kept is a whole one.
    assert (NUM_ITEMS + 2, DIM) in shapes(folder / "servers" / "best")
    assert load_model(folder / "servers").model.item_tower.embeddings.shape == [NUM_ITEMS + 2, DIM]


@pytest.mark.slow
def test_a_killed_server_ends_the_job_and_all_go_on_together(folder):
    settings = (*SETTINGS, "train.max_epochs=4")
    if not (folder / "whole").exists():
        processes, log, _ = start(folder, "whole", *settings)
        jobs.finish(processes, log)
    processes, log, _ = start(folder, "killed", *settings)
    checkpoint = folder / "killed" / "checkpoints" / "checkpoint"
    jobs.wait_until(checkpoint.exists, processes)
    jobs.kill(processes[2])
    assert processes[0].wait(jobs.SECONDS) != 0
    assert "Another process of the job has ended" in log.read_text()
    for process in processes:
        assert process.wait(jobs.SECONDS) != 0  # Worker and server see that the chief is gone.

    processes, log, _ = start(folder, "killed", *settings)
    jobs.finish(processes, log)

    expected = jobs.read_log(folder / "whole")
    assert jobs.read_log(folder / "killed") == [pytest.approx(line, abs=2e-5) for line in expected]


@pytest.mark.slow
def test_a_killed_worker_may_come_back(folder):
    name = "worker"
    processes, log, restart = start(folder, name, *SETTINGS, "train.max_epochs=4")
    checkpoint = folder / name / "checkpoints" / "checkpoint"
    jobs.wait_until(checkpoint.exists, processes)
    jobs.kill(processes[1])
    processes[1] = restart()
    jobs.finish(processes, log)

    assert len(jobs.read_log(folder / name)) == 4


def test_a_server_serves_until_the_chief_is_gone(monkeypatch):
    served, waits = [], []
    monkeypatch.setattr(tf.distribute, "Server", lambda spec, **task: served.append((spec, task)))
    with socket.socket() as chief:
        chief.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{chief.getsockname()[1]}"

        def sleep(seconds):
            waits.append(seconds)
            if len(waits) == 2:
                chief.listen()
            if len(waits) == 5:
                chief.close()

        monkeypatch.setattr(parameter_servers.time, "sleep", sleep)
        cluster = Cluster({"chief": (address,), "worker": ("a:1",), "ps": ("b:1",)}, "ps", 0)
        parameter_servers.serve(cluster)

    assert served == [
        (
            {"chief": [address], "worker": ["a:1"], "ps": ["b:1"]},
            {"job_name": "ps", "task_index": 0, "protocol": "grpc"},
        )
    ]
    assert len(waits) == 4 + parameter_servers._LOOKS_AT_A_GONE_CHIEF
