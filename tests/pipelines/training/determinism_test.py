"""`train.deterministic`: processes with equal seeds end with the same bits.

And what a compiled job compiles: one program, however many epochs it has and whatever
device TensorFlow says that it sees.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

ROOT = Path(__file__).parents[3]

SETTINGS = [
    "model.extractor=last_state",  # The quickest to compile.
    "model.dim=8",
    "model.num_blocks=1",
    "model.feed_forward_dim=8",
    "model.max_history_length=7",
    "model.dropout_rate=0.2",
    "loss.num_negatives=16",
    "train.batch_slots=64",
    "train.max_epochs=2",
    "train.early_stopping_patience=9",
]

TRAIN = """
import sys
import recall
from pipelines.training import trainer
from recall.config import RecallConfig
from tests import pretended_gpu

if {has_gpu}:
    pretended_gpu.pretend()
config = RecallConfig().override({settings})
trainer.train_and_evaluate(config, sys.argv[1], sys.argv[2])
"""


@pytest.fixture(scope="module")
def examples_dir(tmp_path_factory, examples_writer):
    rng = np.random.default_rng(0)
    sequences = [
        ((start + np.arange(length)) % 20).tolist()
        for start, length in zip(rng.integers(0, 20, 60), rng.integers(4, 10, 60), strict=True)
    ]
    folder = tmp_path_factory.mktemp("run") / "examples"
    examples_writer(folder, sequences, 20, 7)
    return folder


def train(examples_dir, model_dir, *settings, has_gpu=False, **environment):
    """A training in a process of its own; returns all values of its state."""
    script = TRAIN.format(has_gpu=has_gpu, settings=[*SETTINGS, *settings])
    result = subprocess.run(
        [sys.executable, "-c", script, str(examples_dir), str(model_dir)],
        cwd=ROOT,
        # Another test of this process may have set flags of XLA.
        env=os.environ
        | {"RECALL_COMPILATION_CACHE": "", "TF_XLA_FLAGS": "", "XLA_FLAGS": ""}
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    reader = tf.train.load_checkpoint(str(model_dir / "checkpoints"))
    names = [name for name in reader.get_variable_to_shape_map() if "VARIABLE_VALUE" in name]
    return {name: reader.get_tensor(name) for name in names}


def assert_equal_bits(first, second):
    assert len(first) > 40
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.tobytes() == second[name].tobytes(), name


@pytest.mark.slow
def test_equal_seeds_give_equal_bits(examples_dir, tmp_path):
    settings = ["train.deterministic=true", "train.jit_compile=false"]
    first, second, other = (
        train(examples_dir, tmp_path / name, *settings, f"train.seed={seed}")
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )

    assert_equal_bits(first, second)
    (table,) = [name for name in first if name.startswith("weight_0/")]
    assert (first[table] != other[table]).all()


@pytest.mark.slow
def test_compiled_too_and_every_epoch_is_one_program(examples_dir, tmp_path):
    """TensorFlow writes what XLA compiles into the folder of kept programs."""
    settings = ["train.deterministic=true", "train.jit_compile=true"]
    cache = tmp_path / "cache"
    first, second = (
        train(examples_dir, tmp_path / name, *settings, RECALL_COMPILATION_CACHE=str(cache))
        for name in ("a", "b")
    )

    assert_equal_bits(first, second)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    ("jit_compile", "num_programs"),
    [("auto", 1), ("false", 0)],
)
@pytest.mark.slow
def test_a_pretended_gpu_compiles_no_program_twice(
    examples_dir, tmp_path, jit_compile, num_programs
):
    """Keras' optimisers compile themselves where they see a GPU, anew for other shapes."""
    cache = tmp_path / "cache"
    cache.mkdir()

    state = train(
        examples_dir,
        tmp_path / "model",
        f"train.jit_compile={jit_compile}",
        has_gpu=True,
        TF_XLA_FLAGS=f"--tf_xla_persistent_cache_directory={cache}",
    )

    assert len(list(cache.iterdir())) == num_programs
    log = (tmp_path / "model" / "training_log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 2]
    (steps,) = [value for name, value in state.items() if name.startswith("optimizer_0/")]
    assert steps > 4
