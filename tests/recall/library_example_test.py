"""The ten lines of docs/design.md that use `recall/` as a library are true."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

ROOT = Path(__file__).parents[2]
ITEMS = ["hat", "shoe", "sock", "scarf"]


@pytest.fixture(scope="module")
def names():
    """What the one Python block of the page leaves behind, by name."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    tf.keras.utils.set_random_seed(1)
    found = {}
    exec(compile(block, "docs/design.md", "exec"), found)
    return found


def test_its_vectors_find_the_items_it_names(names):
    users, items = names["user_vectors"].numpy(), names["item_vectors"].numpy()
    assert users.shape == (2, 2, 16)
    assert items.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(users, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(items, axis=-1), 1, atol=1e-5)
    best_rows = [max(range(4), key=lambda row: (user @ items[row]).max()) for user in users]
    assert names["best_items"] == [ITEMS[row] for row in best_rows]


def test_its_step_trains(names):
    """The losses add up, and another step on the same clicks moves the items."""
    losses = {name: float(value) for name, value in names["losses"].items()}
    weight = names["config"].loss.seq2seq_weight
    assert losses["loss"] == pytest.approx(losses["seq2item"] + weight * losses["seq2seq"])
    assert losses["gradient_0"] + losses["gradient_1"] == pytest.approx(1)
    names["model"].train_step(names["SequenceBatch"](names["clicks"]))
    after = names["model"].item_tower(np.arange(2, 6)).numpy()
    assert np.abs(after - names["item_vectors"].numpy()).max() > 1e-4
