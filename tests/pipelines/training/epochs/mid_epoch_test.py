"""A job that is killed within an epoch goes on at the step of its last checkpoint."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from pipelines.training import trainer
from pipelines.training.epochs import mid_epoch
from pipelines.training.epochs.losses import MeanLosses, StopOnNan
from pipelines.training.epochs.stopping import Progress
from recall.config import RecallConfig

NUM_ITEMS, STEPS = 20, 4
CONFIG = RecallConfig().override(
    [
        "model.extractor=last_state",
        "model.num_interests=1",
        "model.dim=8",
        "model.num_blocks=1",
        "model.feed_forward_dim=8",
        "model.max_history_length=7",
        "loss.negatives=queue",
        "loss.num_negatives=16",
        "train.batch_size=10",
        "train.max_epochs=3",
        "train.checkpoint_minutes=1e-9",  # After every step.
    ]
)


@pytest.fixture
def eager():
    """Saves compiling, which takes longer than these jobs."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config.*tf.data functions")


@pytest.fixture(scope="module")
def examples_dir(tmp_path_factory, examples_writer):
    generator = np.random.default_rng(0)
    sequences = [generator.integers(0, NUM_ITEMS, 9).tolist() for _ in range(STEPS * 10 - 3)]
    folder = tmp_path_factory.mktemp("run") / "examples"
    examples_writer(folder, sequences, NUM_ITEMS, 7)
    return folder


class Killed(BaseException):
    """As sudden as a signal: no handler of the job catches it."""


def train(examples_dir, model_dir, kill_at=None):
    """Trains; the numbers of the steps that were taken, from 1."""
    steps = []

    def count(self, batch, logs=None):
        steps.append(int(self.model.optimizer.iterations))
        if steps[-1] == kill_at:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopOnNan, "on_train_batch_end", count)  # The first in the list.
        try:
            trainer.train_and_evaluate(CONFIG, examples_dir, model_dir)
        except Killed:
            assert kill_at is not None
    return steps


def read(model_dir):
    """The log without seconds, and the bits of the best weights."""
    lines = (model_dir / "training_log.jsonl").read_text().splitlines()
    values = [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
    reader = tf.train.load_checkpoint(str(model_dir / "best"))
    weights = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
    assert len(weights) > 10
    return values, {name: reader.get_tensor(name).tobytes() for name in sorted(weights)}


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    "kill_at",
    [
        STEPS + 2,
        pytest.param(3, marks=pytest.mark.slow),
        pytest.param(2 * STEPS, marks=pytest.mark.slow),
    ],
)
def test_no_more_than_the_step_is_taken_again(examples_dir, tmp_path, kill_at):
    whole = train(examples_dir, tmp_path / "whole")
    assert whole == list(range(1, 3 * STEPS + 1))

    train(examples_dir, tmp_path / "killed", kill_at)
    rest = train(examples_dir, tmp_path / "killed")

    assert rest == list(range(kill_at, 3 * STEPS + 1))
    assert read(tmp_path / "killed") == read(tmp_path / "whole")


class Manager:
    """Keeps the numbers of what would be saved, and what the progress said then."""

    def __init__(self, progress):
        self.progress, self.saved = progress, []

    def save(self, checkpoint_number):
        totals = self.progress.loss_totals.numpy().tolist()
        self.saved.append((checkpoint_number, int(self.progress.steps_done), totals))


def run_epoch(losses, saving, epoch, steps):
    for callback in (losses, saving):
        callback.on_epoch_begin(epoch)
    for step in steps:
        for callback in (losses, saving):
            callback.on_train_batch_end(step, {"seq": step, "a": 10.0 * step})


def test_what_is_saved_by_hand(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(mid_epoch.time, "monotonic", lambda: clock.now)
    progress = Progress(2)
    manager, losses = Manager(progress), MeanLosses(progress)
    saving = mid_epoch.SaveWithinEpochs(progress, manager, losses, minutes=1)
    saving.set_params({"steps": 4})
    run_epoch(losses, saving, 0, [1, 2])
    assert manager.saved == []
    clock.now = 61.0

    run_epoch(losses, saving, 4, [1, 2, 3, 4])

    # Sums by name: "a" before "seq"; not again before the next minute is over.
    assert manager.saved == [(5_000_000_001, 1, [10.0, 1.0])]
    clock.now = 122.0
    progress.steps_done.assign(0)
    run_epoch(losses, saving, 5, [])
    for step in (1, 2, 3, 4):
        losses.on_train_batch_end(step, {"seq": step, "a": 10.0 * step})
    saving._done = 3
    saving.on_train_batch_end(3)
    assert len(manager.saved) == 1  # After the last step the end of the epoch saves.


def test_means_count_on_from_the_checkpoint():
    progress = Progress(2)
    progress.steps_done.assign(3)
    progress.loss_totals.assign([60.0, 6.0])
    losses, logs = MeanLosses(progress), {}
    losses.on_epoch_begin(0)
    losses.on_train_batch_end(0, {"seq": 4.0, "a": 40.0})

    losses.on_epoch_end(0, logs)

    assert logs == {"a": 25.0, "seq": 2.5}
    progress.finish_epoch(0)
    losses.on_epoch_begin(1)
    losses.on_train_batch_end(0, {"seq": 8.0, "a": 1.0})
    losses.on_epoch_end(1, logs)
    assert logs == {"a": 1.0, "seq": 8.0}


@pytest.mark.parametrize(
    ("done", "before", "now", "expected"),
    [(0, 0, 8, 0), (3, 8, 8, 3), (6, 8, 4, 3), (3, 4, 16, 12)],
)
def test_other_steps_are_the_same_place_of_the_log(done, before, now, expected):
    progress = Progress()
    progress.steps_done.assign(done)
    progress.steps_per_epoch.assign(before)

    assert mid_epoch.first_step(progress, now) == expected
    assert int(progress.steps_done) == expected
