"""A dense layer over the last axis."""

import tensorflow as tf


class SlotDense(tf.keras.layers.Dense):
    """`tf.keras.layers.Dense` for inputs of any rank, as one matrix product.

    Keras goes through `tf.tensordot`, which adds some twenty small operations a
    call where shapes are not known in advance, and hides the product from the
    fusion with bias and activation.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Transforms `[..., input_dim]` to `[..., units]`."""
        rows = super().call(tf.reshape(inputs, [-1, inputs.shape[-1]]))
        return tf.reshape(rows, tf.concat([tf.shape(inputs)[:-1], [self.units]], axis=0))
