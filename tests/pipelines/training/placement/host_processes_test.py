"""A process for each GPU of a host: two real ones, on processor cores."""

import json
import signal
import subprocess
import sys
import time

import pytest

from pipelines.processes import gpus, jobs
from pipelines.training.placement import cluster, host_processes, strategies
from recall.config import RecallConfig
from recall.errors import InputError
from tests.pipelines.training.placement import training_processes


def test_every_process_has_its_gpu_and_knows_the_others():
    first, second = host_processes.environments(["0", "GPU-7"])

    assert [first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]] == ["0", "GPU-7"]
    assert first["NCCL_COMM_ID"] == second["NCCL_COMM_ID"]
    clusters = [cluster.read(variables) for variables in (first, second)]
    assert [(one.task, one.index) for one in clusters] == [("worker", 0), ("worker", 1)]
    assert clusters[0].addresses == clusters[1].addresses
    assert all(one.is_of_one_host for one in clusters)
    assert "--xla_gpu_enable_command_buffer=" in first["XLA_FLAGS"].split()
    # No two listen at the same port.
    assert len({*clusters[0].addresses["worker"], first["NCCL_COMM_ID"]}) == 3


@pytest.mark.parametrize(("visible", "found"), [([], "no GPU"), (["3"], "one GPU")])
def test_one_gpu_needs_no_processes(monkeypatch, visible, found):
    monkeypatch.setattr(gpus, "find", lambda: visible)
    monkeypatch.delenv("TF_CONFIG", raising=False)

    with pytest.raises(InputError, match=f"hosts with several GPUs; {found} is visible here"):
        strategies.check(RecallConfig().override(["train.strategy=processes"]))


def run_programs(monkeypatch, *programs):
    """As many processes as there are programs."""
    left = list(programs)

    def start(words, *, variables, stderr):
        return subprocess.Popen(
            [sys.executable, "-c", left.pop(0)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    monkeypatch.setattr(jobs, "start", start)
    monkeypatch.setattr(host_processes, "_BY_ITSELF_S", 0.2)
    monkeypatch.setattr(host_processes, "_INTERRUPTED_S", 0.5)
    host_processes.run(["train"], [str(number) for number in range(len(programs))])


SLEEP = "import time; print('begun', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);" + SLEEP


def test_the_first_is_shown_and_the_others_are_not(monkeypatch, capfd):
    run_programs(monkeypatch, "print('one')", "print('two')")

    assert capfd.readouterr().err == "one\n"


@pytest.mark.parametrize("other", [SLEEP, DEAF])
def test_one_that_is_killed_ends_the_others(monkeypatch, capfd, other):
    killed = "import os; print('its words', flush=True); os.kill(os.getpid(), 9)"
    begin_s = time.monotonic()

    with pytest.raises(InputError, match=r"^Process 2 of 3, that of GPU 1, ended with SIGKILL;"):
        run_programs(monkeypatch, other, killed, other)

    assert time.monotonic() - begin_s < 20
    assert "its words" in capfd.readouterr().err


def test_a_mistake_is_one_line_once(monkeypatch, capfd):
    mistake = "import sys; sys.exit('recall train: error: The log is empty.')"

    with pytest.raises(InputError, match=r"^The log is empty\.$"):
        run_programs(monkeypatch, mistake, mistake)

    assert capfd.readouterr().err == ""


def test_a_defect_of_another_is_shown(monkeypatch, capfd):
    with pytest.raises(InputError, match="Process 2 of 2, that of GPU 1, ended with exit code 1"):
        run_programs(monkeypatch, SLEEP, "raise KeyError('x')")

    assert "KeyError: 'x'" in capfd.readouterr().err


SETTINGS = (
    "loss.negatives=queue",  # Negatives that nobody draws.
    "loss.seq2seq_weight=0",
    "model.dropout_rate=0",
    "train.batch_slots=192",
)


@pytest.fixture(scope="module")
def examples(tmp_path_factory, examples_writer):
    folder = tmp_path_factory.mktemp("processes") / "examples"
    examples_writer(folder, training_processes.chains(61), training_processes.NUM_ITEMS, 7)
    return folder


def start(examples, model_dir, *settings, program=training_processes.TWO_GPUS):
    arguments = training_processes.command(examples, model_dir, *settings)
    return training_processes.start(arguments, program=program, log=f"{model_dir}.log")


@pytest.mark.slow
def test_two_processes_have_the_numbers_of_one(examples, tmp_path):
    alone = start(examples, tmp_path / "alone", *SETTINGS, program=None)
    training_processes.finish([alone], tmp_path / "alone.log")
    settings = (*SETTINGS, "train.strategy=processes")

    two = start(examples, tmp_path / "two", *settings)
    training_processes.finish([two], tmp_path / "two.log")
    again = start(examples, tmp_path / "two", *settings)
    training_processes.finish([again], tmp_path / "two.log")

    said = (tmp_path / "two.log").read_text()
    assert said.count("strategy multi_worker, 2 replicas, 192 slots a step") == 1
    assert "is up to date" in said
    assert said.count("Wrote") == 2
    expected = training_processes.read_log(tmp_path / "alone")
    assert len(expected) == 3
    assert training_processes.read_log(tmp_path / "two") == [
        pytest.approx(line, abs=2e-5) for line in expected
    ]
    config = json.loads((tmp_path / "two" / "config.json").read_text())
    assert config["train"]["strategy"] == "processes"


@pytest.mark.slow
def test_an_interrupt_ends_all_of_them(examples, tmp_path):
    settings = ("train.strategy=processes", "train.max_epochs=4000")
    process = start(examples, tmp_path / "model", *settings, "train.early_stopping_patience=4000")
    checkpoint = tmp_path / "model" / "checkpoints" / "checkpoint"
    training_processes.wait_until(checkpoint.exists, [process])

    process.send_signal(signal.SIGINT)

    assert process.wait(60) == 130
    said = (tmp_path / "model.log").read_text()
    assert said.count("interrupted") == 1
    assert "Traceback" not in said
    assert not (tmp_path / "model" / "artifact.json").exists()
