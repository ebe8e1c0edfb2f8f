"""How much a click belongs to each prototype: p(k|i) of `DisentangledInterests`."""

import math

import tensorflow as tf

from recall.layers.attention import softmax
from recall.layers.normalization import normalize_length

_TEMPERATURE = 0.1
"""Of cosines of items and prototypes: as those of items grow, clusters part from one another."""


def cluster_states(states: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
    """Clusters by states: p(k|i) = softmax_k( z_i . c_k / sqrt(D) ).

    Prototypes learn from what the interests are used for.

    Args:
        states: `[..., dim]` float, normalised: a plain product collapses onto few prototypes.
        prototypes: `[num_prototypes, dim]` float, normalised.

    Returns:
        `[..., num_prototypes]`, sum 1.

    Reference:
        Ma et al., "Disentangled Self-Supervision in Sequential Recommenders",
        KDD 2020, equation 1.
    """
    scores = tf.matmul(states, prototypes, transpose_b=True)
    return softmax(scores / math.sqrt(prototypes.shape[1]))


class ItemClusters(tf.keras.layers.Layer):
    """Clusters by items, whoever clicks them: p(k|i) = softmax_k( cos(h_i, c_k) / .1 ).

    Prototypes learn from `fit_loss` alone, which moves them to where the clicked items are, and
    items learn nothing from their clusters: k-means beside the training, on vectors that the
    training moves. Prototypes that learn from what the interests are used for are left behind
    by all items but those they had at first (measured).

    Reference:
        Li et al., "Prototypical Contrastive Learning of Unsupervised Representations",
        ICLR 2021, for clusters that follow what is learnt; Banerjee et al., "Clustering on the
        Unit Hypersphere using von Mises-Fisher Distributions", JMLR 2005, for the loss.
    """

    def __init__(self, num_prototypes: int, dim: int, **kwargs):
        """Creates the clusters of item vectors of width `dim`."""
        super().__init__(**kwargs)
        self._shape = [num_prototypes, dim]

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the prototypes."""
        normal = tf.keras.initializers.RandomNormal(stddev=1 / math.sqrt(self._shape[1]))
        # Not cast with the layer: divided by the temperature, rounding would change clusters.
        self._prototypes = self.add_weight(
            "prototypes", self._shape, initializer=normal, experimental_autocast=False
        )
        super().build(input_shape)

    def call(self, item_vectors: tf.Tensor) -> tf.Tensor:
        """`[..., dim]` item vectors -> `[..., num_prototypes]` float32 constants, sum 1."""
        return tf.stop_gradient(softmax(self._scores(item_vectors)))

    def fit_loss(self, item_vectors: tf.Tensor) -> tf.Tensor:
        """How far items are from the prototypes: of a mixture of equal parts around these.

        -log( (1/K) sum_k exp((cos(h_i, c_k) - 1) / .1) )

        Args:
            item_vectors: `[batch, dim]` float, of the clicks of a step.

        Returns:
            `[batch]` float, >= 0, unreduced; its gradient reaches the prototypes alone.
        """
        scores = self._scores(item_vectors) - 1 / _TEMPERATURE
        return math.log(self._shape[0]) - tf.reduce_logsumexp(scores, axis=-1)

    def _scores(self, item_vectors: tf.Tensor) -> tf.Tensor:
        prototypes = normalize_length(tf.convert_to_tensor(self._prototypes))
        items = normalize_length(tf.cast(tf.stop_gradient(item_vectors), tf.float32))
        return tf.matmul(items, prototypes, transpose_b=True) / _TEMPERATURE
