"""An item table divided by rows, as parameter servers hold it, learns what a whole one does."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.distribute.sharded_variable import ShardedVariable

from recall.item_tower import ItemTower
from tests.recall.models import packed_step_test as steps

HALF = (steps.NUM_ITEMS + 2) // 2


def add_halves(self, name, size, dim):
    """As `ItemTower._add_table`: two variables under one name."""
    assert size == 2 * HALF
    return ShardedVariable(
        [self.add_weight(f"{name}/part_{i}", [HALF, dim], initializer="zeros") for i in range(2)]
    )


@pytest.mark.parametrize("negatives", ["uniform", "queue"])
def test_three_steps_on_two_halves_are_those_on_one_table(negatives, monkeypatch):
    settings = ("last_state", negatives, "max", "model.dropout_rate=0")
    whole = steps.build(*settings, has_static_shapes=False)
    monkeypatch.setattr(ItemTower, "_add_table", add_halves)
    divided = steps.build(*settings, has_static_shapes=False)
    table = whole.item_tower.embeddings
    for half, values in zip(
        divided.item_tower.embeddings.variables, np.split(table, 2), strict=True
    ):
        half.assign(values)
    first = table.numpy()
    others = [
        [weight for weight in model.trainable_variables if "embeddings" not in weight.name]
        for model in (whole, divided)
    ]
    for weight, other in zip(*others, strict=True):
        other.assign(weight)

    for _ in range(3):
        logs, other_logs = whole.train_step(steps.PADDED), divided.train_step(steps.PADDED)

    for name, value in logs.items():
        np.testing.assert_allclose(other_logs[name], value, rtol=1e-5, err_msg=name)
    halves = [half.numpy() for half in divided.item_tower.embeddings.variables]
    np.testing.assert_allclose(np.concatenate(halves), table, atol=1e-5)
    # Both halves have learnt, and rows that nobody looked up stayed as they were.
    changed = (first != table.numpy()).any(axis=1)
    assert changed[:HALF].any()
    assert changed[HALF:].any()
    items = np.arange(2, 2 * HALF)
    np.testing.assert_allclose(divided.item_tower(items), whole.item_tower(items), atol=1e-5)
    np.testing.assert_allclose(
        divided(steps.PADDED.history_ids), whole(steps.PADDED.history_ids), atol=1e-5
    )


def test_the_gradient_of_a_divided_table_by_hand():
    """Ids 1, 3, 3 of four rows: the first half has one row, the second its last row twice."""
    table = ShardedVariable([tf.Variable([[1.0], [2.0]]), tf.Variable([[3.0], [4.0]])])
    with tf.GradientTape() as tape:
        rows = tf.nn.embedding_lookup(table, [1, 3, 3])
        loss = tf.reduce_sum(rows * [[10.0], [20.0], [30.0]])
    np.testing.assert_array_equal(rows, [[2], [4], [4]])

    first, second = (
        tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(loss, table.variables)
    )

    np.testing.assert_array_equal(first, [[0], [10]])
    np.testing.assert_array_equal(second, [[0], [50]])
