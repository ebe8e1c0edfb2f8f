"""A process for each GPU of a host: two real ones, on processor cores."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest

from pipelines.processes import gpus, jobs
from pipelines.progress import relay, tasks
from pipelines.training.placement import (
    cluster,
    host_environments,
    host_processes,
    strategies,
)
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import folders
from tests.pipelines.training.placement import training_processes


def test_every_process_has_its_gpu_and_knows_the_others():
    first, second = host_environments.build(["0", "GPU-7"])

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

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(visible))

    with pytest.raises(
        InputError, match=f"hosts with several GPUs; {found} is visible here \\(CUD"
    ):
        strategies.check(RecallConfig().override(["train.strategy=processes"]))


def test_a_gpu_that_is_named_twice_is_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-a")

    with pytest.raises(InputError, match="GPU-a,GPU-b,GPU-a names GPU GPU-a twice"):
        strategies.check(RecallConfig().override(["train.strategy=processes"]))


def test_nobody_else_listens_at_the_port_of_a_process():
    with host_environments.free_addresses(2) as addresses:
        ports = [int(address.rpartition(":")[2]) for address in addresses]
        assert len(set(ports)) == 2
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("", ports[0]))
        with socket.socket() as allowed:
            allowed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            allowed.bind(("", ports[0]))
            allowed.listen()
            socket.create_connection(("127.0.0.1", ports[0])).close()


def run_programs(monkeypatch, *programs, by_itself_s=0.2, **show):
    """As many processes as there are programs."""
    left = list(programs)

    def start(words, *, variables, is_part, stderr):
        assert is_part
        return subprocess.Popen(
            [sys.executable, "-c", left.pop(0)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    monkeypatch.setattr(jobs, "start", start)
    monkeypatch.setattr(host_processes, "_BY_ITSELF_S", by_itself_s)
    monkeypatch.setattr(host_processes, "_INTERRUPTED_S", 0.5)
    host_processes.run(["train"], [str(number) for number in range(len(programs))], **show)


SLEEP = "import time; print('begun', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);" + SLEEP


def test_the_first_is_shown_and_the_others_are_not(monkeypatch, capfd):
    run_programs(monkeypatch, "print('one')", "print('two')")

    assert capfd.readouterr().err == "one\n"


@pytest.mark.parametrize(("verbosity", "wanted"), [(0, [0, -1, -1]), (1, [1] * 3), (-1, [-1] * 3)])
def test_one_alone_tells_its_progress(monkeypatch, verbosity, wanted):
    """What all say alike would be shown a second time when one fails."""
    started = []

    def start(words, **options):
        started.append(words)
        return subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE, text=True)

    monkeypatch.setattr(jobs, "start", start)
    monkeypatch.setattr(host_processes.logging, "get_verbosity", lambda: verbosity)

    host_processes.run(["train", "--output=x"], ["0", "1", "2"])

    assert started == [["train", "--output=x", f"--verbosity={one}"] for one in wanted]


def test_what_the_first_is_doing_is_told_and_no_line(monkeypatch, capfd):
    line = relay.to_json([tasks.Task("epoch 1/3", total=40)])
    told = []

    run_programs(
        monkeypatch,
        f"print('one'); print({line!r}); print('two')",
        f"print({line!r})",
        show_task=told.append,
    )

    assert capfd.readouterr().err == "one\ntwo\n"
    assert [one["name"] for one in told] == ["epoch 1/3"]


@pytest.mark.parametrize("other", [SLEEP, DEAF])
def test_one_that_is_killed_ends_the_others(monkeypatch, capfd, other):
    killed = "import os; print('its words', flush=True); os.kill(os.getpid(), 9)"
    begin_s = time.monotonic()

    with pytest.raises(InputError, match=r"^Process 2 of 3, that of GPU 1, ended with SIGKILL;"):
        run_programs(monkeypatch, other, killed, other)

    assert time.monotonic() - begin_s < 20
    assert "its words" in capfd.readouterr().err


LOST = f"import sys; sys.exit('recall train: error: {cluster.LOST_PEER} Start all of them.')"
"""What one says that misses another."""

MISTAKE = "import sys; sys.exit('recall train: error: The loss became nan.')"
ABORTS = "import os; os.abort()"


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ((LOST, "raise KeyError('x')"), "Process 2 of 2, that of GPU 1, ended with exit code 1"),
        ((LOST, "import os; os.kill(os.getpid(), 9)"), "SIGKILL; .* where memory is used up"),
        ((ABORTS, MISTAKE), "^The loss became nan"),
        ((MISTAKE, LOST), "^The loss became nan"),
        ((LOST, LOST), "have lost each other"),
    ],
)
def test_the_cause_is_told_and_not_what_follows_from_it(monkeypatch, programs, message):
    with pytest.raises(InputError, match=message):
        run_programs(monkeypatch, *programs, by_itself_s=60)


def test_one_that_hangs_ends_all(monkeypatch):
    with pytest.raises(InputError, match=r"lost each other: process 2 \(GPU 1\) did not answer"):
        run_programs(monkeypatch, LOST, DEAF)


def says(done):
    """A program that tells its step."""
    task = tasks.Task("epoch 1/3", total=40, unit="steps")
    task.advance(done)
    return f"print({relay.to_json([task])!r}, flush=True);"


def test_those_that_stand_still_are_ended_with_a_line(monkeypatch, capfd):
    with pytest.raises(InputError) as error:
        run_programs(monkeypatch, says(7) + DEAF, says(6) + SLEEP, stall_s=1.0)

    assert str(error.value) == (
        "No step has ended for 1 s (train.stall_minutes): process 1 (GPU 0): epoch 1/3, 7 of 40 "
        "steps, for 1 s; process 2 (GPU 1): epoch 1/3, 6 of 40 steps, for 1 s. All were stopped. "
        "With GPUs NCCL_DEBUG=INFO tells what NCCL waits for. The same command goes on from the "
        "last checkpoint."
    )
    assert capfd.readouterr().err == "begun\n"


def test_one_that_gets_on_keeps_all(monkeypatch):
    """The second one says nothing for two seconds, longer than it may alone."""
    steps = "".join(f"{says(step)} time.sleep(.5);" for step in range(4))

    run_programs(monkeypatch, f"import time; {steps}", "import time; time.sleep(2)", stall_s=1.5)


def test_a_mistake_is_one_line_once(monkeypatch, capfd):
    mistake = "import sys; sys.exit('recall train: error: The log is empty.')"

    with pytest.raises(InputError, match=r"^The log is empty\.$"):
        run_programs(monkeypatch, mistake, mistake)

    assert capfd.readouterr().err == ""


def test_a_defect_of_another_is_shown(monkeypatch, capfd):
    with pytest.raises(InputError, match="Process 2 of 2, that of GPU 1, ended with exit code 1"):
        run_programs(monkeypatch, SLEEP, "raise KeyError('x')")

    assert "KeyError: 'x'" in capfd.readouterr().err


def test_a_warning_that_all_say_is_shown_once(monkeypatch, capfd):
    first = f"print('10:20:30 Few users.', flush=True); {SLEEP}"
    other = "print('10:20:31 Few users.'); raise KeyError('x')"

    with pytest.raises(InputError, match="Process 2 of 2"):
        run_programs(monkeypatch, first, other)

    assert capfd.readouterr().err.count("Few users") == 1


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


@pytest.mark.slow
def test_all_end_when_the_one_that_started_them_is_killed(examples, tmp_path):
    settings = ("train.strategy=processes", "train.max_epochs=4000")
    model_dir = tmp_path / "model"
    process = start(examples, model_dir, *settings, "train.early_stopping_patience=4000")
    training_processes.wait_until((model_dir / "checkpoints" / "checkpoint").exists, [process])
    busy = start(examples, model_dir, *settings)
    assert busy.wait(training_processes.SECONDS) == 1
    assert f"Another training is writing {model_dir}" in (tmp_path / "model.log").read_text()
    assert process.poll() is None

    training_processes.kill(process)

    # The chief holds the folder as long as it is there.
    end_s = time.monotonic() + training_processes.SECONDS
    while not is_free(model_dir):
        assert time.monotonic() < end_s
        time.sleep(0.1)


def is_free(model_dir):
    try:
        with folders.locked_folder(model_dir, ".lock", busy="busy"):
            return True
    except InputError:
        return False


@pytest.mark.slow
def test_a_proxy_is_no_way_between_processes_and_all_are_measured(examples, tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    model_dir = tmp_path / "model"

    process = start(examples, model_dir, "train.strategy=processes", "train.max_epochs=1")
    training_processes.finish([process], tmp_path / "model.log")

    made = json.loads((model_dir / "artifact.json").read_text())["made"]
    # Each of three has imported TensorFlow, which alone takes a third of that.
    assert made["peak_memory_bytes"] > 900e6
    assert "{" not in (tmp_path / "model.log").read_text()


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_one_line(examples, tmp_path):
    settings = ("train.strategy=processes", "train.learning_rate=1e30")
    process = start(examples, tmp_path / "model", *settings)

    assert process.wait(training_processes.SECONDS) == 1

    said = (tmp_path / "model.log").read_text()
    assert said.count("recall train: error: The training loss became nan") == 1
    assert "Traceback" not in said
