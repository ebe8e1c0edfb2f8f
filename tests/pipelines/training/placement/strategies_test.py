"""Over which devices a job spreads: what is chosen, what is refused, and jobs of two devices."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from pipelines.training.placement import strategies
from pipelines.training.placement.cluster import Cluster
from recall.config import RecallConfig
from recall.errors import InputError
from tests.pipelines.training.placement import training_processes as jobs

WORKERS = Cluster({"worker": ("a:1", "b:1")}, "worker", 0)
WITH_CHIEF = Cluster({"chief": ("a:1",), "worker": ("b:1", "c:1")}, "worker", 0)
SERVERS = Cluster({"chief": ("a:1",), "worker": ("b:1",), "ps": ("c:1",)}, "chief", 0)
NO_CHIEF = Cluster({"worker": ("a:1", "b:1"), "ps": ("c:1",)}, "worker", 0)
ONE_HOST = WORKERS._replace(is_of_one_host=True)
NO_WORKER = Cluster({"chief": ("a:1",), "ps": ("c:1",)}, "chief", 0)


def choose(name, cluster=None, *settings):
    config = RecallConfig().override([f"train.strategy={name}", *settings])
    return strategies.choose(config, cluster)


@pytest.mark.parametrize(
    ("name", "cluster", "chosen"),
    [
        ("auto", None, "none"),
        ("none", None, "none"),
        ("mirrored", None, "mirrored"),
        ("processes", None, "processes"),
        ("processes", ONE_HOST, "multi_worker"),
        ("auto", WORKERS, "multi_worker"),
        ("multi_worker", WORKERS, "multi_worker"),
        ("auto", SERVERS, "parameter_server"),
        ("parameter_server", SERVERS, "parameter_server"),
    ],
)
def test_the_cluster_chooses(name, cluster, chosen):
    assert choose(name, cluster) == chosen


@pytest.mark.parametrize(
    ("name", "cluster", "message"),
    [
        ("multi_worker", None, "train.strategy=multi_worker needs TF_CONFIG"),
        ("mirrored", WORKERS, "TF_CONFIG describes a job of train.strategy=multi_worker"),
        ("none", WORKERS, "TF_CONFIG describes a job of train.strategy=multi_worker"),
        ("processes", WORKERS, "train.strategy=processes was asked for. Leave one of the two out"),
        ("parameter_server", None, "train.strategy=parameter_server needs TF_CONFIG"),
        ("multi_worker", SERVERS, "describes a job of train.strategy=parameter_server"),
        (
            "auto",
            NO_CHIEF,
            "need one chief and at least one worker in TF_CONFIG; it names 2 worker",
        ),
        ("auto", NO_WORKER, "need one chief and at least one worker in TF_CONFIG"),
    ],
)
def test_what_is_impossible_is_one_line(name, cluster, message):
    with pytest.raises(InputError, match=message) as caught:
        choose(name, cluster)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["jit_compile", "deterministic"])
def test_what_does_not_go_with_parameter_servers(setting):
    with pytest.raises(
        InputError, match=f"train.{setting}=true does not go with parameter servers"
    ):
        choose("auto", SERVERS, f"train.{setting}=true")


def test_a_warm_start_does_not_go_with_parameter_servers(monkeypatch):
    monkeypatch.setattr(strategies.clusters, "read", lambda: SERVERS)

    strategies.check(RecallConfig())
    with pytest.raises(InputError, match="--warm_start does not go with parameter servers"):
        strategies.check(RecallConfig(), has_warm_start=True)


@pytest.mark.parametrize("kind", ["Unavailable", "Aborted", "Cancelled", "DeadlineExceeded"])
def test_a_process_that_is_gone_or_answers_no_more_is_one_line(monkeypatch, kind):
    error = getattr(tf.errors, f"{kind}Error")(None, None, "Collective ops is aborted")

    monkeypatch.setattr(strategies.clusters, "read", lambda: WORKERS)
    with (
        pytest.raises(InputError, match="has ended or cannot be reached"),
        strategies.losing_no_peer(),
    ):
        raise error
    monkeypatch.setattr(strategies.clusters, "read", lambda: None)
    with pytest.raises(type(error)), strategies.losing_no_peer():
        raise error


def test_a_process_of_a_gpu_does_not_train_without_it(monkeypatch):
    monkeypatch.setattr(strategies.clusters, "read", lambda: ONE_HOST)
    monkeypatch.setattr(strategies.gpus, "find", lambda: ["GPU-7"])
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [])

    with pytest.raises(InputError, match=r"sees no GPU in the process of GPU GPU-7\. `recall doc"):
        strategies.open_placement(RecallConfig().override(["train.strategy=processes"]))


@pytest.mark.parametrize(
    ("name", "cluster", "text"),
    [
        ("none", None, ""),
        ("mirrored", None, "strategy mirrored, 2 replicas"),
        ("parameter_server", SERVERS, "strategy parameter_server, 1 worker, 1 server"),
    ],
)
def test_a_placement_in_words(name, cluster, text):
    strategy = SimpleNamespace(num_replicas_in_sync=2)

    assert strategies.Placement(name, strategy, cluster).describe() == text


@pytest.mark.parametrize(
    ("name", "cluster", "share"),
    [
        ("none", None, (1, range(1), 1)),
        ("mirrored", None, (4, range(4), 1)),
        ("multi_worker", WORKERS._replace(index=1), (4, range(2, 4), 1)),
        ("multi_worker", WITH_CHIEF._replace(index=1), (6, range(4, 6), 1)),
        ("parameter_server", SERVERS, (1, range(1), 1)),
    ],
)
def test_what_a_process_reads(name, cluster, share):
    """Machines of two devices each; mirrored: one of four."""
    strategy = SimpleNamespace(num_replicas_in_sync=share[0])

    assert strategies.Placement(name, strategy, cluster).share[:3] == share


@pytest.fixture(scope="module")
def folder(tmp_path_factory, examples_writer):
    """A folder with examples, and `alone`: a job of one device."""
    folder = tmp_path_factory.mktemp("jobs")
    examples_writer(folder / "examples", jobs.chains(61), jobs.NUM_ITEMS, 7)
    arguments = jobs.command(folder / "examples", folder / "alone", *SAME_EVERYWHERE)
    jobs.finish([jobs.start(arguments, log=folder / "alone.log")], folder / "alone.log")
    return folder


SAME_EVERYWHERE = (
    "loss.negatives=queue",  # Negatives that nobody draws.
    "loss.seq2seq_weight=0",
    "model.dropout_rate=0",
    "train.batch_slots=192",
)


@pytest.mark.slow
def test_a_job_on_two_devices_has_the_numbers_of_one(folder):
    """61 sequences in batches of 32: the parts are of different sizes, some without a click."""
    arguments = jobs.command(
        folder / "examples", folder / "mirrored", *SAME_EVERYWHERE, "train.strategy=mirrored"
    )
    log = folder / "mirrored.log"
    jobs.finish([jobs.start(arguments, on_two_devices=True, log=log)], log)

    assert "strategy mirrored, 2 replicas, 192 slots a step" in log.read_text()
    expected = jobs.read_log(folder / "alone")
    assert len(expected) == 3
    assert jobs.read_log(folder / "mirrored") == [
        pytest.approx(line, abs=2e-5) for line in expected
    ]


@pytest.mark.slow
def test_a_compiled_step_of_several_processors_is_refused(folder):
    arguments = jobs.command(
        folder / "examples",
        folder / "compiled",
        "train.strategy=mirrored",
        "train.jit_compile=true",
    )
    process = jobs.start(arguments, on_two_devices=True)

    said = process.communicate(timeout=jobs.SECONDS)[0].decode()

    assert process.returncode not in (0, None)
    assert "train.jit_compile=true with several replicas needs GPUs" in said
    assert "Traceback" not in said


def start_two_workers(folder, name, *settings):
    """Two processes of one job, and their log."""
    arguments = jobs.command(folder / "examples", folder / name, *settings)
    cluster = {"worker": jobs.free_addresses(2)}
    log = folder / f"{name}.log"
    return [jobs.start(arguments, cluster, ("worker", i), log=log) for i in range(2)], log


@pytest.mark.slow
def test_two_workers_have_the_numbers_of_one_device(folder):
    processes, log = start_two_workers(folder, "workers", *SAME_EVERYWHERE)
    jobs.finish(processes, log)

    assert "strategy multi_worker, 2 replicas, 192 slots a step" in log.read_text()
    expected = jobs.read_log(folder / "alone")
    assert jobs.read_log(folder / "workers") == [pytest.approx(line, abs=2e-5) for line in expected]
    assert (folder / "workers" / "artifact.json").exists()


@pytest.mark.slow
def test_programs_of_two_processes_that_exchange_have_the_numbers_of_one_device(folder):
    """The function that GPUs compile, on packed batches, in its loop of steps."""
    settings = (*SAME_EVERYWHERE, "train.jit_compile=true")
    arguments = jobs.command(folder / "examples", folder / "packed", *settings)
    jobs.finish([jobs.start(arguments, log=folder / "packed.log")], folder / "packed.log")

    arguments = jobs.command(folder / "examples", folder / "inside", *settings)
    cluster = {"worker": jobs.free_addresses(2)}
    log = folder / "inside.log"
    processes = [
        jobs.start(arguments, cluster, ("worker", i), log=log, program=jobs.EXCHANGES_INSIDE)
        for i in range(2)
    ]
    jobs.finish(processes, log)

    assert log.read_text().count("exchanges inside") == 2
    expected = jobs.read_log(folder / "packed")
    assert len(expected) == 3
    assert jobs.read_log(folder / "inside") == [pytest.approx(line, abs=2e-5) for line in expected]


LONG = ("train.max_epochs=4", "train.batch_slots=8", "train.batch_size=2", "loss.negatives=queue")
"""Some 30 steps an epoch, with drawn anchors and dropout."""


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1], ids=["chief", "worker"])
def test_a_killed_worker_leaves_no_trace_in_the_metrics(folder, killed):
    if not (folder / "whole").exists():
        processes, log = start_two_workers(folder, "whole", *LONG)
        jobs.finish(processes, log)
    name = f"killed_{killed}"
    processes, log = start_two_workers(folder, name, *LONG)
    # The second epoch has begun when the checkpoint of the first one is there.
    checkpoint = folder / name / "checkpoints" / "checkpoint"
    jobs.wait_until(checkpoint.exists, processes)
    jobs.kill(processes[killed])
    other = processes[1 - killed]
    assert other.wait(jobs.SECONDS) != 0  # It notices, and ends with a line.
    assert "Another process of the job has ended" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not (folder / name / "artifact.json").exists()

    processes, log = start_two_workers(folder, name, *LONG)
    jobs.finish(processes, log)

    assert jobs.read_log(folder / name) == jobs.read_log(folder / "whole")
    assert weights(folder / name) == weights(folder / "whole")


def weights(model_dir):
    """Bits of the best weights."""
    reader = tf.train.load_checkpoint(str(model_dir / "best"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
    assert len(names) > 10
    return {name: reader.get_tensor(name).tobytes() for name in sorted(names)}
