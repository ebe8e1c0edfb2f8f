"""The item tower: dense ids, or features of new items, in; vectors out."""

import numpy as np
import tensorflow as tf

from recall.config import ModelConfig
from recall.feature_columns.declaration import FeaturesConfig
from recall.feature_columns.encoder import Encoded, FeatureEncoder
from recall.layers.dropout import Dropout
from recall.layers.feature_network import LinearFeatures
from recall.layers.normalization import normalize_length
from recall.losses.negatives import sample_uniform_negatives
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary

_EMBEDDING_STDDEV = 0.02
"""Of fresh embeddings. A step of Adam has a fixed length, so the shorter a vector
the faster it turns; under cosine similarity unit-length ones (stddev 1/sqrt(dim))
needed about three times the epochs (TRIALS.md)."""


class ItemTower(tf.keras.Model):
    """Item id embedding plus, where items have features, what these say.

    Row 0 of the table is padding and row 1 is shared by all unknown ids. Where items have
    features (`vocabulary.features`), the id of an item counts the more, the more training clicks
    it has (`features.id_shrinkage`), and without any not at all: nothing was learnt of it.

    Attributes:
        embeddings: `[num_items + 2, dim]`, the table.
        item_counts: `[num_items]` training clicks.
        num_candidates: Items that training knows something of.
        learnt_ids: `[num_candidates]` int64 dense ids of these; None: of all items.
        encoder: Of the features; None without any.
        network: Of the features; None without any.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocabulary: ItemVocabulary,
        features: FeaturesConfig | None = None,
        **kwargs,
    ):
        """Creates the tower for the items of `vocabulary`.

        Args:
            config: Widths and similarity.
            vocabulary: The items, with the values of their features.
            features: How features are taken in; None for the defaults.
            **kwargs: Of Keras' model.
        """
        super().__init__(**kwargs)
        self._cosine = config.similarity == "cosine"
        self.item_counts = vocabulary.counts
        self.embeddings = self._add_table("embeddings", vocabulary.table_size, config.dim)
        self.num_candidates, self.learnt_ids = vocabulary.num_items, None
        self.encoder = self.network = None
        if vocabulary.features is not None:
            self._add_features(features or FeaturesConfig(), vocabulary, config.dim)

    def _add_features(self, config: FeaturesConfig, vocabulary: ItemVocabulary, dim: int) -> None:
        """The network, and what it reads of every dense id."""
        self.encoder = FeatureEncoder(vocabulary.features.columns)
        encoded = self.encoder.encode_items(vocabulary.features)
        self.network = LinearFeatures(
            self.encoder, dim, config.embedding_dim, encoded, name="features"
        )
        unknown = self.encoder.encode_nothing(FIRST_ITEM_ID)  # Padding, and the unknown id.
        self._encoded = Encoded(
            *(tf.constant(np.concatenate(both)) for both in zip(unknown, encoded, strict=True))
        )
        # Items without clicks are no negatives: their features would learn to be disliked.
        is_learnt = np.concatenate([[True] * FIRST_ITEM_ID, vocabulary.counts > 0])
        learnt_ids = np.flatnonzero(is_learnt)[FIRST_ITEM_ID:]
        self.num_candidates, self.learnt_ids = len(learnt_ids), tf.constant(learnt_ids, tf.int64)
        counts = np.concatenate([[np.inf] * FIRST_ITEM_ID, vocabulary.counts])
        self._id_shares = tf.constant(share_of_id(counts, config.id_shrinkage)[:, np.newaxis])
        self._id_dropout = Dropout(config.id_dropout, is_scaled=False)
        has_values = vocabulary.features.has_values()
        self._has_values = tf.constant(np.concatenate([[False] * FIRST_ITEM_ID, has_values]))

    def _add_table(self, name: str, size: int, dim: int) -> tf.Variable:
        """A `[size, dim]` embedding table of short random vectors."""
        normal = tf.keras.initializers.RandomNormal(stddev=_EMBEDDING_STDDEV)
        return self.add_weight(name, [size, dim], initializer=normal)

    def candidate_ids(self) -> tf.Tensor:
        """`[num_candidates]` int dense ids of the items that training knows something of."""
        if self.learnt_ids is not None:
            return self.learnt_ids
        return tf.range(FIRST_ITEM_ID, FIRST_ITEM_ID + self.num_candidates)

    def sample_uniform(self, num_ids: int, seed: tf.Tensor) -> tf.Tensor:
        """`[num_ids]` int64 dense ids, every candidate alike."""
        return sample_uniform_negatives(self.num_candidates, num_ids, seed, self.learnt_ids)

    def content_of(self, item_ids: tf.Tensor) -> tf.Tensor | None:
        """`[..., dim]` what features say of items, `[...]` int; None where items have none."""
        return None if self.network is None else self.network(self.encoded_of(item_ids))

    def embed(
        self, item_ids: tf.Tensor, training: bool = False, content: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Looks up raw embeddings, as the user tower reads them.

        Args:
            item_ids: `[...]` int dense ids.
            training: Whether some items have to do without their id, where they have features.
            content: `content_of` them, where it has been computed.

        Returns:
            `[..., dim]` float, not normalised.
        """
        vectors = tf.nn.embedding_lookup(self.embeddings, item_ids)
        if self.network is None:
            return vectors
        kept = self._id_dropout(tf.gather(self._id_shares, item_ids), training=training)
        return vectors * kept + (self.content_of(item_ids) if content is None else content)

    def embed_for_routing(self, item_ids: tf.Tensor, content: tf.Tensor | None = None) -> tf.Tensor:
        """What items are routed to prototypes by: their content, or all of them without any.

        Args:
            item_ids: `[...]` int dense ids.
            content: As in `embed`.

        Returns:
            `[..., dim]` float: what the features say, where they say something; else as `embed`.
        """
        if self.network is None:
            return self.embed(item_ids)
        if content is None:
            content = self.content_of(item_ids)
        has_values = tf.gather(self._has_values, item_ids)[..., tf.newaxis]
        return tf.where(has_values, content, self.embed(item_ids, content=content))

    def call(
        self, item_ids: tf.Tensor, training: bool = False, content: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Item vectors for scoring.

        Args:
            item_ids: `[...]` int dense ids.
            training: As in `embed`.
            content: As in `embed`.

        Returns:
            `[..., dim]` float, unit length under cosine similarity.
        """
        return self._to_score(self.embed(item_ids, training=training, content=content))

    def call_features(self, encoded: Encoded, item_ids: tf.Tensor | None = None) -> tf.Tensor:
        """Item vectors by given features, and by an id where one is given.

        Args:
            encoded: `[n, ...]` of `encoder`.
            item_ids: `[n]` int dense ids; one that is unknown, or had no training click, adds
                nothing. None: none of them.

        Returns:
            `[n, dim]` float like `call`.
        """
        vectors = self.network(encoded)
        if item_ids is not None:
            is_item = tf.cast(item_ids >= FIRST_ITEM_ID, vectors.dtype)[:, tf.newaxis]
            kept = tf.gather(self._id_shares, item_ids) * is_item
            vectors += tf.nn.embedding_lookup(self.embeddings, item_ids) * kept
        return self._to_score(vectors)

    def encoded_of(self, item_ids: tf.Tensor) -> Encoded:
        """What the model knows of the features of items; nothing of unknown ones.

        Args:
            item_ids: `[n]` int dense ids.
        """
        return Encoded(*(tf.gather(table, item_ids) for table in self._encoded))

    def _to_score(self, vectors: tf.Tensor) -> tf.Tensor:
        return normalize_length(vectors) if self._cosine else vectors


def share_of_id(counts: np.ndarray, shrinkage: float) -> np.ndarray:
    """How much the id embedding of an item counts beside its features: n / (n + shrinkage).

    So a mean is estimated of few numbers where something is known beforehand: it is drawn to
    that, as here an item to what its features say.

    Args:
        counts: `[num_items]` training clicks, may be infinite.
        shrinkage: Clicks at which it counts half, >= 0.

    Returns:
        `[num_items]` float32 in [0, 1]; 0 without clicks.

    Reference:
        Efron and Morris, "Stein's Estimation Rule and Its Competitors", JASA 1973.

    >>> share_of_id(np.array([0, 5, 45]), 5.0)
    array([0. , 0.5, 0.9], dtype=float32)
    """
    shares = 1 / (1 + shrinkage / np.maximum(counts, 1))
    return np.where(counts > 0, shares, 0).astype(np.float32)
