"""Which held-out events decide about an epoch: whole trainings, their lists scripted."""

import math

import numpy as np
import pytest
import tensorflow as tf

from pipelines.artifacts import records
from pipelines.evaluation import lists
from pipelines.training.epochs import validation, validation_users
from pipelines.training.trainer import train_and_evaluate
from recall.config import RecallConfig
from recall.errors import InputError
from tests.pipelines import log_of_kinds
from tests.pipelines.log_of_kinds import NUM_ITEMS, NUM_USERS

SETTINGS = [
    "model.extractor=last_state",
    "model.dim=8",
    "model.num_blocks=1",
    "model.num_heads=1",
    "model.feed_forward_dim=8",
    "model.max_history_length=7",
    "loss.seq2seq_weight=0",
    "train.jit_compile=false",
    "train.max_epochs=2",
    *log_of_kinds.SETTINGS,
    "ingest.num_shards=2",
]
BUY = 'loss.target_kinds=["buy"]'


def configure(*settings):
    return RecallConfig().override([*SETTINGS, *settings])


@pytest.fixture(scope="module", name="examples_dir")
def _examples_dir(tmp_path_factory):
    return log_of_kinds.ingest_into(tmp_path_factory.mktemp("kinds"), configure())


def read(examples_dir, *settings):
    """User -> the held-out items that count, by their numbers."""
    users = validation_users.read(examples_dir, configure(*settings))
    item_ids = records.read_vocabulary(examples_dir).item_ids
    return {
        user.decode(): [item_ids[dense - 2] for dense in users.positives[row]]
        for row, user in enumerate(users.user_ids)
    }


def test_all_held_out_events_where_all_kinds_are_learnt(examples_dir):
    found = read(examples_dir)
    assert len(found) == NUM_USERS
    assert found["u4"] == ["i8", "i9"]
    assert read(examples_dir, 'loss.event_weights={"view": 0.1}') == found


@pytest.mark.parametrize(
    "settings",
    [
        [BUY],
        ['loss.event_weights={"view": 0, "cart": 0}'],
        ['train.stopping_kinds=["buy"]'],
        ['loss.target_kinds=["view", "buy"]', 'train.stopping_kinds=["buy"]'],
    ],
)
def test_those_that_the_loss_learns_or_a_setting_names(examples_dir, settings):
    # The second validation event of the even users is bought.
    assert read(examples_dir, *settings) == {
        f"u{user}": [f"i{(user + 5) % NUM_ITEMS}"] for user in range(0, NUM_USERS, 2)
    }


def test_several_kinds(examples_dir):
    found = read(examples_dir, BUY, 'train.stopping_kinds=["buy", "view"]')
    assert found == read(examples_dir)


def test_a_kind_of_no_validation_event_is_one_line(examples_dir, tmp_path):
    with pytest.raises(InputError, match="No validation event is of the kind 'cart'") as caught:
        train_and_evaluate(
            configure('train.stopping_kinds=["cart"]'), examples_dir, tmp_path / "model"
        )
    assert "There are 10 buy, 30 view. Hold out more" in str(caught.value)
    assert "\n" not in str(caught.value)


def script(monkeypatch, item_ids):
    """Lists of two epochs: first views are on top and what is bought on place 3, then that."""
    row_of = {item_id: row for row, item_id in enumerate(item_ids)}
    epochs = iter([1, 2])

    def evaluate(_, __, held_out, *, ks, **___):
        epoch, top_rows = next(epochs), np.full([held_out.num_users, max(ks)], -1, np.int32)
        for at, user in enumerate(held_out.user_ids.tolist()):
            first, second, third = (
                row_of[f"i{(int(user[1:]) + step) % NUM_ITEMS}"] for step in (4, 9, 5)
            )
            top_rows[at, :3] = (first, second, third) if epoch == 1 else (third, second, -1)
        return lists.measure_lists(top_rows, held_out, ks)

    monkeypatch.setattr(validation, "evaluate_user_vectors", evaluate)


@pytest.fixture
def eager():
    """Saves compiling, which takes longer than these jobs."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.*tf.data functions")
@pytest.mark.parametrize(
    ("settings", "values", "best"),
    [
        # Of the two: places 1 and 3, then place 1 of the even users, and of the odd ones place 1.
        ([], [(1 + 1 / 2) / (1 + 1 / math.log2(3)), 1 / (1 + 1 / math.log2(3))], 1),
        # What is bought: place 3, then place 1.
        ([BUY], [1 / math.log2(4), 1.0], 2),
        (['train.stopping_kinds=["buy"]'], [1 / math.log2(4), 1.0], 2),
        # Views: of the even users place 1, then none; of the odd ones as of all.
        (
            [BUY, 'train.stopping_kinds=["view"]'],
            [
                (1 + (1 + 1 / 2) / (1 + 1 / math.log2(3))) / 2,
                (0 + 1 / (1 + 1 / math.log2(3))) / 2,
            ],
            1,
        ),
    ],
)
def test_the_epoch_that_is_kept(examples_dir, tmp_path, monkeypatch, settings, values, best):
    script(monkeypatch, records.read_vocabulary(examples_dir).item_ids)
    train_and_evaluate(configure(*settings), examples_dir, tmp_path / "model")
    log = records.read_training_log(tmp_path / "model")
    assert [line["val_ndcg@10"] for line in log] == pytest.approx(values, abs=1e-6)
    (kept,) = (tmp_path / "model").rglob("best/*.index")
    assert kept.stem.endswith(f"-{best}")
