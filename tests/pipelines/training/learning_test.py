"""What can be learnt is learnt, and what cannot is not: no leak, no dead interest."""

import json

import numpy as np
import pytest

from pipelines.artifacts.held_out import read_held_out
from pipelines.synthetic.source import SyntheticConfig, generate_events
from pipelines.training.trainer import train_and_evaluate
from recall.config import RecallConfig

NUM_NEGATIVES = 64

CONFIG = RecallConfig().override(
    [
        "model.extractor=dssrec",
        "model.num_interests=3",
        "model.dim=16",
        "model.num_blocks=1",
        "model.num_heads=1",
        "model.feed_forward_dim=16",
        "model.max_history_length=16",
        "model.dropout_rate=0",
        f"loss.num_negatives={NUM_NEGATIVES}",
        "loss.seq2seq_weight=0.3",
        "loss.confident_fraction=0.5",
        "train.batch_size=64",
        "train.learning_rate=0.02",
        "train.early_stopping_patience=99",
    ]
)


@pytest.fixture
def train(tmp_path, examples_writer):
    """(sequences, num_items, settings) -> (the best model, the log of the epochs)."""

    def run(sequences, num_items, *assignments):
        config = CONFIG.override(assignments)
        length = config.model.max_history_length
        examples_writer(tmp_path / "examples", sequences, num_items, length)
        trained = train_and_evaluate(config, tmp_path / "examples", tmp_path / "model")
        log = (tmp_path / "model" / "training_log.jsonl").read_text().splitlines()
        return trained.model, [json.loads(line) for line in log]

    return run


def test_a_chain_of_items_is_learnt(train):
    rng = np.random.default_rng(1)
    ring = rng.permutation(200)
    starts = rng.integers(0, 200, 400)
    walks = [ring[(start + np.arange(8)) % 200].tolist() for start in starts]

    _, log = train(walks, 200, "train.max_epochs=8", "model.extractor=last_state")

    # Every item has one successor; guessing finds it in 5 % of the lists.
    assert max(line["val_ndcg@10"] for line in log) > 0.8
    assert log[-1]["seq2item"] < 0.3 * log[0]["seq2item"]


def test_nothing_is_learnt_from_random_clicks(train):
    """A model that does better than chance has seen the answer."""
    rng = np.random.default_rng(2)
    clicks = [rng.choice(200, 8, replace=False).tolist() for _ in range(400)]

    _, log = train(clicks, 200, "train.max_epochs=6")

    # Chance: 10 of the 194 items that are not in the history; 400 users.
    chance = 10 / 194
    four_deviations = 4 * np.sqrt(chance * (1 - chance) / 400)
    assert max(line["val_recall@10"] for line in log) < chance + four_deviations
    # Nor is a training target seen: a model that knows nothing has a loss of
    # log(1 + negatives); one that sees its target gets close to 0 at once.
    assert min(line["seq2item"] for line in log) > 0.85 * np.log(1 + NUM_NEGATIVES)


def test_planted_interests_are_found_and_no_interest_is_dead(train, tmp_path):
    world = SyntheticConfig(
        num_users=400,
        num_items=100,
        num_interests=10,
        interests_per_user=3,
        events_per_user=16,
        noise_rate=0.05,
        unrelated_future_rate=0.05,
        seed=3,
    )
    clicks = {}
    for batch in generate_events(world):
        columns = (batch[name].to_pylist() for name in ("user_id", "item_id"))
        for user_id, item_id in zip(*columns, strict=True):
            clicks.setdefault(user_id, []).append(int(item_id.removeprefix("i")) - 1)
    sequences = [items[-19:] for items in clicks.values() if len(items) >= 5]

    model, log = train(sequences, 100, "train.max_epochs=15")

    # A user's three interests hold 30 items, half of them clicked before;
    # chance is 10 of some 85 items, .12.
    assert max(line["val_recall@10"] for line in log) > 0.25
    assert log[-1]["seq2seq"] < 0.75 * log[0]["seq2seq"]
    held_out = read_held_out(tmp_path / "examples", "test")
    user_vectors = model.user_tower(held_out.histories.last_padded(16)).user_vectors.numpy()
    positive_vectors = model.item_tower(held_out.positives.values).numpy()
    nearest = np.einsum("bkd,bd->bk", user_vectors, positive_vectors).argmax(axis=1)
    shares = np.bincount(nearest, minlength=3) / len(nearest)
    assert shares.min() > 0.08
