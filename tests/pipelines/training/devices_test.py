"""What follows from the device. No GPU is needed: one is pretended."""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import tensorflow as tf

from pipelines.artifacts import trained_model
from pipelines.training import devices
from recall.config import RecallConfig
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from tests import pretended_gpu

ROOT = Path(__file__).parents[3]
TINY = [
    "model.dim=8",
    "model.num_blocks=1",
    "model.feed_forward_dim=8",
    "model.extractor=last_state",
]


@pytest.fixture
def gpu(monkeypatch):
    """TensorFlow says that it sees a GPU."""
    return pretended_gpu.pretend(monkeypatch.setattr)


def test_on_cores_nothing_is_compiled():
    train = devices.complete(RecallConfig()).train

    assert (train.jit_compile, train.batch_slots) == (False, 384)
    assert devices.complete(RecallConfig()).loss.num_negatives == 1024


def test_on_a_gpu_the_step_is_compiled_and_larger(gpu):
    train = devices.complete(RecallConfig()).train

    assert train.jit_compile is True
    assert train.batch_slots > 384
    assert devices.complete(RecallConfig()).loss.num_negatives > 1024


def fill_64_tib():
    """TensorFlow waits 10 s for others to free some."""
    tf.fill([2**20, 2**20, 2**4], 1.0)


def raise_what_it_says():
    device = "/job:localhost/replica:0/task:0/device:CPU:0"
    text = (
        f"{{{{function_node __wrapped__Fill_device_{device}}}}} OOM when allocating tensor with "
        f"shape[1048576,1048576,16] and type float on {device} by allocator mklcpu [Op:Fill]"
    )
    raise tf.errors.ResourceExhaustedError(None, None, text)


@pytest.mark.parametrize(
    "fail", [pytest.param(fill_64_tib, marks=pytest.mark.slow), raise_what_it_says]
)
def test_a_step_that_does_not_fit_says_what_to_lower(fail):
    config = RecallConfig().override(["train.batch_slots=77", "model.num_interests=3"])

    with pytest.raises(InputError) as error, devices.enough_memory(config):
        fail()

    assert str(error.value) == (
        "The memory of CPU:0 is too small for a step (tensor with shape[1048576,1048576,16] and "
        "type float). Lower train.batch_slots (77) or loss.num_negatives (1024); if that is not "
        "enough, model.num_interests (3) or model.dim (128)."
    )


@pytest.mark.parametrize(
    ("negatives", "text", "wanted"),
    [
        # As of a compiled step, which names no device.
        (
            "in_batch",
            "Out of memory while trying to allocate 1161 bytes. [Op:f]",
            r"The memory of the device .* step \(1161 bytes\)\. Lower train.batch_slots \(768\); ",
        ),
        ("full", "", r"of the device is too small for a step\. Lower train.batch_slots \(768\); "),
    ],
)
def test_whatever_the_error_says(negatives, text, wanted):
    config = RecallConfig().override([f"loss.negatives={negatives}"])

    with pytest.raises(InputError, match=wanted), devices.enough_memory(config, num_replicas=2):
        raise tf.errors.ResourceExhaustedError(None, None, text)


@pytest.mark.parametrize("reason", ["No space left on device", "Disk quota exceeded"])
def test_a_full_disk_is_no_lack_of_memory(reason):
    """As TensorFlow says it of a checkpoint; the command tells what to do."""
    text = f"/runs/model/checkpoints/ckpt-1_temp/part-00000-of-00001; {reason} [Op:SaveV2]"
    with (
        pytest.raises(tf.errors.ResourceExhaustedError, match=reason),
        devices.enough_memory(RecallConfig()),
    ):
        raise tf.errors.ResourceExhaustedError(None, None, text)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_what_is_set_stays(gpu, jit_compile):
    config = RecallConfig().override(
        [
            f"train.jit_compile={str(jit_compile).lower()}",
            "train.batch_slots=77",
            "loss.num_negatives=9",
        ]
    )

    assert devices.complete(config).loss.num_negatives == 9
    train = devices.complete(config).train

    assert (train.jit_compile, train.batch_slots) == (jit_compile, 77)
    assert devices.complete(devices.complete(config)) == devices.complete(config)


@pytest.mark.parametrize("jit_compile", ["auto", "true", "false"])
def test_a_visible_gpu_makes_no_optimiser_compile_by_itself(gpu, jit_compile):
    """Keras' optimisers do where they see one: the rows of a gradient are a shape then."""
    assert tf.keras.optimizers.Adam().jit_compile is True
    config = RecallConfig().override([*TINY, f"train.jit_compile={jit_compile}"])

    model = trained_model.build_model(devices.complete(config), ItemVocabulary(["a", "b"]))

    assert model.optimizer.jit_compile is False
    assert model._jit_compile is (jit_compile != "false")


def test_the_memory_of_a_gpu_is_taken_as_it_is_needed(gpu, monkeypatch):
    grown = []
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, on: grown.append((gpu, on))
    )
    monkeypatch.setenv("TF_XLA_FLAGS", "")
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setenv("RECALL_COMPILATION_CACHE", "")

    devices.prepare(RecallConfig())

    assert grown == [(gpu, True)]


@pytest.mark.parametrize("given", [None, "false"])
def test_so_it_is_in_every_process_unless_the_user_says_otherwise(given):
    name = "TF_FORCE_GPU_ALLOW_GROWTH"
    environment = {key: value for key, value in os.environ.items() if key != name}
    if given:
        environment[name] = given
    result = subprocess.run(
        [sys.executable, "-c", f"import os, recall; print(os.environ['{name}'])"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout.strip() == (given or "true")


def test_the_job_says_what_it_runs_on(gpu):
    compiled = devices.describe(devices.complete(RecallConfig()))
    plain = devices.describe(devices.complete(RecallConfig().override(["train.jit_compile=false"])))

    assert pretended_gpu.NAME in compiled
    assert "compiled first: about a minute, once" in compiled
    assert "compiled" not in plain


def test_the_job_says_how_many_cores_it_has():
    text = devices.describe(devices.complete(RecallConfig()))
    assert f"{len(os.sched_getaffinity(0))} processor cores, 384 slots" in text


NAMES = ("TF_XLA_FLAGS", "XLA_FLAGS", "RECALL_COMPILATION_CACHE")


def variables_of_a_job(*settings, **environment):
    """TF_XLA_FLAGS and XLA_FLAGS as a job leaves them to TensorFlow."""
    with mock.patch.dict(os.environ):
        for name in NAMES:
            os.environ.pop(name, None)
        os.environ.update(environment)
        devices.prepare(RecallConfig().override(list(settings)))
        return [os.environ.get(name, "") for name in NAMES[:2]]


def test_compiled_programs_are_kept_where_the_user_says(tmp_path):
    """In a process of its own: TensorFlow reads the variables once."""
    folder = tmp_path / "cache"
    script = (
        "import recall, tensorflow as tf\n"
        "from pipelines.training import devices\n"
        "from recall.config import RecallConfig\n"
        "devices.prepare(RecallConfig())\n"
        "tf.function(lambda a: tf.matmul(a, a) + 1, jit_compile=True)(tf.ones([64, 64]))\n"
    )
    inherited = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment = inherited | {"RECALL_COMPILATION_CACHE": str(folder)}

    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True)

    assert list(folder.glob("xla_compile_cache*"))


def test_flags_of_the_user_stay(tmp_path):
    of_tensorflow, of_xla = variables_of_a_job(
        RECALL_COMPILATION_CACHE=str(tmp_path / "unused"),
        TF_XLA_FLAGS=f"--tf_xla_persistent_cache_directory={tmp_path}",
        XLA_FLAGS="--xla_gpu_force_compilation_parallelism=3",
    )

    assert of_tensorflow == f"--tf_xla_persistent_cache_directory={tmp_path}"
    assert of_xla == "--xla_gpu_force_compilation_parallelism=3"
    assert not (tmp_path / "unused").exists()


def test_nothing_is_kept_where_nothing_is_compiled(tmp_path):
    of_tensorflow, of_xla = variables_of_a_job(
        "train.jit_compile=false", RECALL_COMPILATION_CACHE=str(tmp_path / "unused")
    )

    assert (of_tensorflow, of_xla) == ("", "")
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize(("started_by", "sharing"), [({}, 1), ({"started_by": "recall"}, 2)])
def test_processes_of_one_host_share_its_cores_when_they_compile(tmp_path, started_by, sharing):
    two = {"cluster": {"worker": ["a:1", "a:2"]}, "task": {"type": "worker", "index": 1}}

    _, of_xla = variables_of_a_job(
        TF_CONFIG=json.dumps(two | started_by), RECALL_COMPILATION_CACHE=str(tmp_path)
    )

    cores = max(1, len(os.sched_getaffinity(0)) // sharing)
    assert of_xla == f"--xla_gpu_force_compilation_parallelism={cores}"


def test_several_gpus_are_named_with_their_strategy(gpu, monkeypatch):
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind=None: [gpu] * 4 if kind == "GPU" else [],
    )
    config = devices.complete(RecallConfig(), num_replicas=4)

    assert config.train.batch_slots == 4 * 1024
    assert devices.complete(config, num_replicas=4) == config
    assert "4 x NVIDIA H100 80GB HBM3, strategy mirrored, 4 replicas, 4096 slots a step" in (
        devices.describe(config, "strategy mirrored, 4 replicas")
    )
    assert "the first of 4 GPUs; train.strategy=processes uses all" in devices.describe(config)
