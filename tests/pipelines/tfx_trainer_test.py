"""The contract with a TFX trainer: what it reads, and what it leaves where."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.tfx_trainer import run_fn
from recall.errors import InputError

SETTINGS = {
    "model": {
        "extractor": "last_state",
        "dim": 8,
        "num_blocks": 1,
        "feed_forward_dim": 8,
        "max_history_length": 7,
    },
    "loss": {"num_negatives": 8, "seq2seq_weight": 0},
    "train": {"batch_size": 16, "max_epochs": 50},
}


@pytest.fixture(scope="module")
def examples_dir(tmp_path_factory, examples_writer):
    folder = tmp_path_factory.mktemp("tfx") / "examples"
    starts = np.arange(40) % 20
    sequences = [((s + np.arange(6)) % 20).tolist() for s in starts]
    examples_writer(folder, sequences, 20, SETTINGS["model"]["max_history_length"])
    return folder


def arguments(examples_dir, folder, **changes):
    """What TFX passes; one bucket of 40 sequences makes 3 steps of 16 an epoch."""
    values = {
        "train_files": [str(examples_dir / "Split-train" / "*")],
        "eval_files": [str(examples_dir / "Split-valid" / "*")],
        "train_steps": 4,
        "eval_steps": 1,
        "serving_model_dir": str(folder / "Format-Serving"),
        "model_run_dir": str(folder / "run"),
        "base_model": None,
        "custom_config": {"config": SETTINGS, "set": ["train.seed=5"]},
    }
    return SimpleNamespace(**{**values, **changes})


def test_the_serving_model_answers_and_the_run_folder_holds_the_rest(examples_dir, tmp_path):
    run_fn(arguments(examples_dir, tmp_path))
    tower = tf.saved_model.load(str(tmp_path / "Format-Serving"))
    outputs = tower.signatures["serving_default"](
        history_item_ids=tf.constant([["i1", "i2"], ["i3", ""]])
    )
    assert outputs["user_vectors"].shape == [2, 1, 8]
    np.testing.assert_array_equal(outputs["num_known"], [2, 1])
    run_dir = tmp_path / "run"
    assert (run_dir / "export" / "item_tower" / "saved_model.pb").exists()
    assert records.read_record(run_dir / "model")["job"] == "train"
    assert any((run_dir / "model" / "logs").rglob("events.out.tfevents.*"))
    config = records.read_config(run_dir / "model")
    assert config.train.seed == 5
    assert config.train.validation_users == 16


def test_train_steps_are_rounded_up_to_whole_epochs(examples_dir, tmp_path):
    run_fn(arguments(examples_dir, tmp_path, train_steps=4))
    lines = (tmp_path / "run" / "model" / "training_log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]


def test_a_saved_model_is_no_warm_start(examples_dir, tmp_path):
    with pytest.raises(InputError, match="`warm_start` of `custom_config`"):
        run_fn(arguments(examples_dir, tmp_path, base_model="models/1"))


@pytest.mark.slow
def test_an_earlier_run_folder_is_a_warm_start(examples_dir, tmp_path):
    run_fn(arguments(examples_dir, tmp_path / "first"))
    custom = {"config": SETTINGS, "warm_start": str(tmp_path / "first" / "run")}

    run_fn(arguments(examples_dir, tmp_path / "second", custom_config=custom))

    facts = json.loads((tmp_path / "second" / "run" / "model" / "warm_start.json").read_text())
    assert (facts["carried_items"], facts["new_items"]) == (20, 0)
    assert facts["first_step"] == 6


def test_files_that_are_no_training_split_are_refused(tmp_path):
    with pytest.raises(InputError, match="Split-train"):
        run_fn(arguments(tmp_path, tmp_path, train_files=[str(tmp_path / "*.gz")]))
