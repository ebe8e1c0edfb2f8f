"""Products of pairs with offsets, in the form of processor cores and in that of a GPU."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.products import multiply_pairs


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize("has_row_offsets", [False, True])
@pytest.mark.parametrize("has_column_offsets", [False, True])
def test_equals_numpy(has_gpu, has_row_offsets, has_column_offsets, monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU:0"] * has_gpu)
    rng = np.random.default_rng(0)
    rows, columns, row_offsets, column_offsets = (
        rng.normal(size=shape).astype(np.float32) for shape in ([5, 3], [4, 3], [5, 1], [4, 1])
    )
    expected = rows @ columns.T
    expected = expected + row_offsets if has_row_offsets else expected
    expected = expected + column_offsets.T if has_column_offsets else expected

    products = multiply_pairs(
        tf.constant(rows),
        tf.constant(columns),
        row_offsets=tf.constant(row_offsets) if has_row_offsets else None,
        column_offsets=tf.constant(column_offsets) if has_column_offsets else None,
    )

    np.testing.assert_allclose(products, expected, rtol=1e-5, atol=1e-6)
