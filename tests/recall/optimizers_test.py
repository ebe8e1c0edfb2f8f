"""Row-wise Adam: Adam where there is a gradient, nothing where there is none."""

import numpy as np
import pytest
import tensorflow as tf

from recall.optimizers import RowwiseAdam

RATE = 0.1


def rows_of(indices, values, num_rows):
    values = np.asarray(values, np.float32)
    shape = tf.constant([num_rows, values.shape[1]], tf.int64)
    return tf.IndexedSlices(tf.constant(values), tf.constant(indices, tf.int64), shape)


def adam_in_numpy(table, gradients, lazy):
    """Algorithm 1 of the article; `gradients` of a step: row -> gradient."""
    table = table.astype(np.float64)
    momentum, velocity = np.zeros_like(table), np.zeros_like(table)
    for step, by_row in enumerate(gradients, start=1):
        for row in range(len(table)):
            if lazy and row not in by_row:
                continue
            gradient = np.asarray(by_row.get(row, np.zeros(table.shape[1])), np.float64)
            momentum[row] = 0.9 * momentum[row] + 0.1 * gradient
            velocity[row] = 0.999 * velocity[row] + 0.001 * gradient**2
            correction = np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            table[row] -= RATE * correction * momentum[row] / (np.sqrt(velocity[row]) + 1e-7)
    return table


def test_first_step_by_hand():
    table = tf.Variable([[1.0, 1.0], [1.0, 1.0]])

    RowwiseAdam(RATE).apply_gradients([(rows_of([1], [[4.0, -9.0]], 2), table)])

    # The first step of Adam is the learning rate times the gradient's sign.
    np.testing.assert_allclose(table, [[1.0, 1.0], [0.9, 1.1]], rtol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "rows"])
def test_equals_adam_where_every_row_has_a_gradient(kind):
    rng = np.random.default_rng(0)
    initial = rng.normal(size=[4, 3]).astype(np.float32)
    gradients = rng.normal(size=[5, 4, 3]).astype(np.float32)
    ours, theirs = tf.Variable(initial), tf.Variable(initial)
    row_wise, adam = RowwiseAdam(RATE), tf.keras.optimizers.Adam(RATE)
    for gradient in gradients:
        as_given = rows_of([2, 0, 3, 1], gradient[[2, 0, 3, 1]], 4)
        row_wise.apply_gradients([(as_given if kind == "rows" else gradient, ours)])
        adam.apply_gradients([(gradient, theirs)])

    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    expected = adam_in_numpy(initial, [dict(enumerate(g)) for g in gradients], lazy=False)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_equals_numpy_where_rows_come_and_go():
    rng = np.random.default_rng(1)
    initial = rng.normal(size=[6, 2]).astype(np.float32)
    table, optimizer, steps = tf.Variable(initial), RowwiseAdam(RATE), []
    for _ in range(6):
        rows = rng.choice(5, size=2, replace=False)
        steps.append(dict(zip(rows.tolist(), rng.normal(size=[2, 2]), strict=True)))
        gradient = rows_of(rows, list(steps[-1].values()), 6)
        optimizer.apply_gradients([(gradient, table)])

    np.testing.assert_allclose(table, adam_in_numpy(initial, steps, lazy=True), rtol=1e-4)
    np.testing.assert_array_equal(table[5], initial[5])  # Row 5 was never drawn.


def test_a_row_without_a_gradient_keeps_its_value_and_moments():
    table, optimizer = tf.Variable(np.ones([3, 2], np.float32)), RowwiseAdam(RATE)
    optimizer.apply_gradients([(rows_of([0, 1], [[1.0, 2.0], [3.0, 4.0]], 3), table)])

    def state():
        return [v.numpy() for v in (table, *optimizer.variables) if v.shape.rank == 2]

    before = state()

    optimizer.apply_gradients([(rows_of([1], [[5.0, 6.0]], 3), table)])

    after = state()
    assert len(after) == 3  # The table, its momentum and its velocity.
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new[[0, 2]], old[[0, 2]])
        assert (new[1] != old[1]).all()


@pytest.mark.parametrize("in_graph", [False, True])
def test_gradients_of_the_same_row_are_summed(in_graph):
    def train(*gradients):
        table, optimizer = tf.Variable(np.ones([3, 2], np.float32)), RowwiseAdam(RATE)
        optimizer.build([table])

        def step(indices, values):
            optimizer.apply_gradients([(tf.IndexedSlices(values, indices, [3, 2]), table)])

        step = tf.function(step) if in_graph else step
        for indices, values in gradients:
            step(tf.constant(indices), tf.constant(values))
        return table.numpy()

    repeated = train(([1, 2, 1], [[1.0, 5.0], [1.0, 1.0], [2.0, -3.0]]), ([1], [[0.5, 0.5]]))
    summed = train(([1, 2], [[3.0, 2.0], [1.0, 1.0]]), ([1], [[0.5, 0.5]]))

    np.testing.assert_allclose(repeated, summed, rtol=1e-6)


def test_a_step_does_not_touch_the_whole_table():
    """No tensor of the graph of a step is as long as the table."""
    num_rows = 12_345
    table, optimizer = tf.Variable(np.zeros([num_rows, 2], np.float32)), RowwiseAdam(RATE)
    optimizer.build([table])

    @tf.function
    def step(item_ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.nn.embedding_lookup(table, item_ids) ** 2)
        optimizer.apply_gradients([(tape.gradient(loss, table), table)])

    graph = step.get_concrete_function(tf.constant([3, 4, 3])).graph
    graphs, tensors = [graph], []
    while graphs:
        graph = graphs.pop()
        graphs += [
            inner
            for inner in getattr(graph, "_functions", {}).values()
            if hasattr(inner, "get_operations")
        ]
        tensors += [t for op in graph.get_operations() for t in op.outputs]

    assert len(tensors) > 20
    shapes = {t.shape for t in tensors if t.dtype != tf.resource}
    assert all(num_rows not in (shape.as_list() if shape.rank else []) for shape in shapes)


def test_a_learning_rate_schedule_is_followed():
    schedule = tf.keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.25])
    table, optimizer = tf.Variable([[0.0]]), RowwiseAdam(schedule)
    values = []
    for _ in range(2):
        optimizer.apply_gradients([(rows_of([0], [[1.0]], 1), table)])
        values.append(float(table[0, 0]))

    # Equal gradients: every step of Adam is the learning rate of the moment.
    np.testing.assert_allclose(values, [-0.5, -0.75], rtol=1e-4)


def test_saves_and_restores_its_state(tmp_path):
    def build():
        table, optimizer = tf.Variable(np.ones([3, 2], np.float32)), RowwiseAdam(RATE)
        optimizer.build([table])
        return table, optimizer, tf.train.Checkpoint(table=table, optimizer=optimizer)

    gradients = [rows_of([0, 2], [[1.0, -2.0], [3.0, 4.0]], 3), rows_of([2], [[1.0, 1.0]], 3)]
    table, optimizer, checkpoint = build()
    optimizer.apply_gradients([(gradients[0], table)])
    path = checkpoint.save(str(tmp_path / "state"))
    optimizer.apply_gradients([(gradients[1], table)])

    restored, restored_optimizer, checkpoint = build()
    checkpoint.restore(path).assert_consumed()
    restored_optimizer.apply_gradients([(gradients[1], restored)])

    np.testing.assert_array_equal(restored, table)


def test_it_never_compiles_by_itself():
    assert RowwiseAdam(RATE).jit_compile is False
    assert RowwiseAdam.from_config(RowwiseAdam(RATE).get_config()).jit_compile is False


@pytest.mark.parametrize("is_compiled", [False, True])
def test_with_static_shapes_repeated_rows_are_summed_too(is_compiled):
    initial = np.random.default_rng(0).normal(size=[6, 2]).astype(np.float32)
    rows = [[4, 1, 4, 0, 4], [2, 2, 2, 2, 2], [0, 1, 2, 3, 4]]
    values = np.random.default_rng(1).normal(size=[3, 5, 2]).astype(np.float32)
    tables = []
    for has_static_shapes in (False, True):
        table = tf.Variable(initial)
        optimizer = RowwiseAdam(RATE, has_static_shapes=has_static_shapes)
        optimizer.build([table])

        def step(indices, gradient, optimizer=optimizer, table=table):
            slices = tf.IndexedSlices(gradient, indices, tf.constant([6, 2]))
            optimizer.apply_gradients([(slices, table)])

        function = tf.function(step, jit_compile=is_compiled and has_static_shapes)
        for indices, gradient in zip(rows, values, strict=True):
            function(tf.constant(indices), tf.constant(gradient))
        tables.append(table.numpy())

    np.testing.assert_allclose(tables[1], tables[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(tables[1][5], initial[5])
