"""A training with features of every owner, broken off: it goes on, or says why it cannot."""

import json
import shutil

import numpy as np
import pytest

from pipelines.sources.event_columns import EventColumns
from pipelines.training import model_folder
from pipelines.training.epochs.losses import StopOnNan
from pipelines.training.trainer import load_model, train_and_evaluate, train_settings
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import storage
from tests.pipelines.training import features_of_all

CONFIG = RecallConfig().override(
    [
        "ingest.num_shards=2",
        "model.extractor=last_state",
        "model.dim=8",
        "model.num_blocks=1",
        "model.feed_forward_dim=8",
        "model.max_history_length=7",
        "model.dropout_rate=0.3",
        "features.id_dropout=0.2",
        "features.embedding_dim=4",
        "features.hidden_dim=8",
        f"features.columns={json.dumps(features_of_all.COLUMNS)}",
        'loss.event_weights={"view": 0.5}',
        "loss.num_negatives=16",
        "train.batch_slots=64",
        "train.max_epochs=2",
        "train.jit_compile=false",
    ]
)


@pytest.fixture(scope="module")
def examples_dir(tmp_path_factory):
    """A small log with kinds, impressions and the features of everyone."""
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(3)
    events = ["user_id,item_id,timestamp,kind,device,place"]
    for user in range(40):
        for time in range(8):
            kind = ("view", "buy", "impression")[rng.integers(3)] if time % 3 else "view"
            device, place = ("tv", "web", "app")[rng.integers(3)], ("in", "out")[time % 2]
            events.append(f"u{user},i{rng.integers(20)},{time},{kind},{device},{place}")
    columns = EventColumns(event_type="kind")
    return features_of_all.make_examples(folder, events, CONFIG, num_users=35, columns=columns)


class Killed(BaseException):
    """As sudden as a signal: no handler of the job catches it."""


def train_and_kill(examples_dir, model_dir):
    """Ends a training in the middle of its second epoch."""
    original = StopOnNan.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        original(self, batch, logs)
        steps_of_epoch = self.params["steps"]
        if int(self.model.optimizer.iterations) == steps_of_epoch + 1:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopOnNan, "on_train_batch_end", on_train_batch_end)
        with pytest.raises(Killed):
            train_and_evaluate(CONFIG, examples_dir, model_dir)


def read_log(model_dir):
    lines = map(json.loads, (model_dir / "training_log.jsonl").read_text().splitlines())
    return [{n: value for n, value in line.items() if n != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def broken_off(examples_dir, tmp_path_factory):
    model_dir = tmp_path_factory.mktemp("run") / "model"
    train_and_kill(examples_dir, model_dir)
    return model_dir


def state_of(folder):
    """Every file below a folder with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda begun: begun["versions"].update(recall="0.0.1"), r"\(recall 0\.0\.1, here "),
        (
            lambda begun: begun["settings"]["loss"].pop("attribute_weight"),
            r"\(without the setting loss\.attribute_weight\)",
        ),
        (
            lambda begun: begun["settings"]["train"].update(gone=1),
            r"\(with a setting train\.gone\)",
        ),
    ],
)
def test_a_training_of_another_version_is_refused_and_stays(broken_off, examples_dir, change, why):
    started = broken_off / "started.json"
    begun = started.read_bytes()
    try:
        other = json.loads(begun)
        change(other)
        storage.write_json(started, other)
        before = state_of(broken_off)
        with pytest.raises(InputError, match=f"unfinished training .*{why}.*--overwrite") as error:
            train_and_evaluate(CONFIG, examples_dir, broken_off)
        assert "\n" not in str(error.value)
        assert state_of(broken_off) == before
    finally:
        started.write_bytes(begun)


def test_other_values_and_finished_trainings_are_not_of_another_version(broken_off, tmp_path):
    other = CONFIG.override(["train.max_epochs=9", 'loss.event_weights={"buy": 2}'])
    model_folder.refuse_other_version(broken_off, train_settings(other))
    model_folder.refuse_other_version(tmp_path / "none", train_settings(CONFIG))
    earlier = train_settings(CONFIG)
    del earlier["train"]["strategy"]  # Says nothing of the model.
    model_folder.refuse_other_version(broken_off, earlier)


def test_a_state_with_other_variables_is_one_line_and_stays(examples_dir, broken_off, monkeypatch):
    """A version of the same number and settings whose model has other weights."""
    before = state_of(broken_off / "checkpoints")
    monkeypatch.setattr("pipelines.training.job_state.JobState.restore", _lacks_a_variable)
    with pytest.raises(InputError, match=r"damaged or of another version of recall: .*anew"):
        train_and_evaluate(CONFIG, examples_dir, broken_off)
    assert state_of(broken_off / "checkpoints") == before


def _lacks_a_variable(self, path):
    raise AssertionError("Object not found in checkpoint")


def test_it_goes_on_as_if_nothing_had_happened(examples_dir, broken_off, tmp_path):
    folders = tmp_path / "whole", tmp_path / "resumed"
    shutil.copytree(broken_off, folders[1])
    for folder in folders:
        train_and_evaluate(CONFIG, examples_dir, folder)

    whole, resumed = map(read_log, folders)
    assert len(whole) == 2
    assert resumed == [pytest.approx(line, abs=1e-5) for line in whole]
    models = [load_model(folder).model for folder in folders]
    vectors = [model.item_tower(np.arange(2, 22)).numpy() for model in models]
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-5)
