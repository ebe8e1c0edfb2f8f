"""Products of all pairs of rows, with numbers added to the rows or the columns."""

import tensorflow as tf


def multiply_pairs(
    rows: tf.Tensor,
    columns: tf.Tensor,
    row_offsets: tf.Tensor | None = None,
    column_offsets: tf.Tensor | None = None,
) -> tf.Tensor:
    """`rows[i] . columns[j] + row_offsets[i] + column_offsets[j]`.

    On processor cores one more coordinate adds the offsets for nothing, where to add
    them is another pass over all pairs. On a GPU the width of the rows then misses the
    matrix units, and a compiled step adds offsets on the way.

    Args:
        rows: `[num_rows, dim]` float.
        columns: `[num_columns, dim]` float.
        row_offsets: `[num_rows, 1]` float; None adds nothing.
        column_offsets: `[num_columns, 1]` float; None adds nothing.

    Returns:
        `[num_rows, num_columns]` float.

    >>> rows, columns = tf.constant([[1.0], [2.0]]), tf.constant([[3.0]])
    >>> multiply_pairs(rows, columns, row_offsets=tf.constant([[0.5], [0.0]])).numpy()
    array([[3.5],
           [6. ]], dtype=float32)
    """
    if not tf.config.list_logical_devices("GPU"):
        wide_rows, wide_columns = [rows], [columns]
        if row_offsets is not None:
            wide_rows.append(row_offsets)
            wide_columns.append(tf.ones_like(columns[:, :1]))
        if column_offsets is not None:
            wide_rows.append(tf.ones_like(rows[:, :1]))
            wide_columns.append(column_offsets)
        if len(wide_rows) > 1:
            rows, columns = tf.concat(wide_rows, axis=1), tf.concat(wide_columns, axis=1)
        return tf.matmul(rows, columns, transpose_b=True)
    products = tf.matmul(rows, columns, transpose_b=True)
    if row_offsets is not None:
        products += row_offsets
    if column_offsets is not None:
        products += tf.transpose(column_offsets)
    return products
