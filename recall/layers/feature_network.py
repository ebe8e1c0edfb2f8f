"""Values of features -> vectors: of items a sum, of whatever else a small network."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from recall.feature_columns.declaration import FeaturesConfig
from recall.feature_columns.encoder import NO_VALUE, Encoded, FeatureEncoder
from recall.feature_columns.fitting import FittedColumn
from recall.layers.normalization import normalize_length

_STDDEV = 0.02
"""Of fresh embeddings, as that of the items' own (`recall.towers`)."""


_Choice = Callable[[FittedColumn], bool]

_DENSE_VALUES = 1 << 22
"""Numbers of a table whose gradient is taken as a whole: Adam needs 1 ms for so many."""

_NOWHERE = -1
"""What a sum over segments leaves out."""


class FeatureNetwork(tf.keras.layers.Layer):
    """One table of embeddings for the values of all features, and two dense layers.

    An embedding per value and the mean over those of a feature (a set has no order); means
    and numbers side by side; then a hidden layer, which lets features act together.

    Attributes:
        table: `[num_rows, embedding_dim]`, row 0 for empty slots.
    """

    def __init__(self, config: FeaturesConfig, encoder: FeatureEncoder, dim: int, **kwargs):
        """Creates the layer for what `encoder` gives.

        Args:
            config: Widths.
            encoder: Of the features.
            dim: Of the vectors that are wanted.
            **kwargs: Of Keras' layer.
        """
        super().__init__(**kwargs)
        self._slots_of = [size for column in encoder.columns for size in column.slot_groups]
        self._embedding_dim = config.embedding_dim
        width = len(self._slots_of) * config.embedding_dim
        width += sum(column.num_numbers for column in encoder.columns)
        self._inner = tf.keras.layers.Dense(config.hidden_dim, tf.nn.gelu, name="inner")
        self._outer = tf.keras.layers.Dense(dim, name="outer")
        self.table = _add_table(self, "table", encoder.num_rows, config.embedding_dim)
        self._look_up = _choose_look_up(self.table)
        self._inner.build([None, width])
        self._outer.build([None, config.hidden_dim])

    def call(self, encoded: Encoded) -> tf.Tensor:
        """Vectors of items.

        Args:
            encoded: `[..., num_slots]` and `[..., num_numbers]`, of `FeatureEncoder`.

        Returns:
            `[..., dim]` float.
        """
        # Rows once for all operations: each of them would reshape there and back.
        parts = [_as_rows(encoded.numbers)] if encoded.numbers.shape[-1] else []
        if self._slots_of:
            parts = [*self._means(_as_rows(encoded.slots)), *parts]
        vectors = self._outer(self._inner(tf.concat(parts, axis=1)))
        if encoded.slots.shape.rank == 2:
            return vectors
        shape = tf.shape(encoded.slots)[:-1]
        return tf.reshape(vectors, tf.concat([shape, [self._outer.units]], axis=0))

    def _means(self, slots: tf.Tensor) -> list[tf.Tensor]:
        """`[n, embedding_dim]` mean embedding of each feature, 0 where it has no value."""
        # Slot by slot: values of a feature are added up as whole matrices, and the gradient of
        # the splits is one tensor joined, that of slices would be a padded one of each.
        slots = tf.transpose(slots)
        weights = tf.concat(list(map(_share_out, tf.split(slots, self._slots_of))), axis=0)
        vectors = self._look_up(self.table, slots) * weights[..., tf.newaxis]
        return [tf.reduce_sum(part, axis=0) for part in tf.split(vectors, self._slots_of)]


class LinearFeatures(tf.keras.layers.Layer):
    """A vector per value; an item is the weighted sum over its values, and of its numbers.

    Rare values weigh more, as in a search for text, and the squares of the weights of an item
    have sum 1: its vector is as long as that of one value, however many it has (measured).

    Hashed words have narrow vectors, which a matrix makes as wide as the others, as it does with
    numbers. They are the most of all values; as wide they made a step a fifth dearer (measured).

    Attributes:
        table: `[num_values, dim]`, row 0 for empty slots; of all values but words.
        word_table: `[num_words, word_dim]` the same of words; None without a text.
        row_weights: `[num_rows]` float, how rare each value is; 0 for empty slots.
        name_rows: `[num_names]` int, rows of `table` of the values of categorical features.

    Reference:
        Kula, "Metadata Embeddings for User and Item Cold-start Recommendations", 2015 (LightFM).
        Baevski and Auli, "Adaptive Input Representations for Neural Language Modeling", ICLR 2019
        (narrow vectors for what is rare).
    """

    def __init__(
        self, encoder: FeatureEncoder, dim: int, word_dim: int, encoded: Encoded, **kwargs
    ):
        """Creates the layer.

        Args:
            encoder: Of the features.
            dim: Of the vectors that are wanted.
            word_dim: Of a word.
            encoded: Of all items, whose rare values weigh more.
            **kwargs: Of Keras' layer.
        """
        super().__init__(**kwargs)
        self._dim = dim
        self.row_weights = tf.constant(weigh_rows(np.asarray(encoded.slots), encoder.num_rows))
        self._values = _Places(encoder, _is_no_text)
        self._words = _Places(encoder, _is_text)
        self._names = _Places(encoder, _is_no_text, lambda c: c.kind == "categorical")
        self.name_rows = tf.constant(self._names.rows)
        self.table = _add_table(self, "table", self._values.num_rows, dim)
        self._look_up = _choose_look_up(self.table)
        self.word_table = self._projection = None
        lengths = [_STDDEV] * sum(column.num_numbers for column in encoder.columns)
        if self._words.num_rows > 1:
            self.word_table = _add_table(self, "word_table", self._words.num_rows, word_dim)
            self._look_up_word = _choose_look_up(self.word_table)
            lengths += [word_dim**-0.5] * word_dim  # So that words are as long as other values.
        if lengths:
            self._projection = _project(lengths, dim)

    def values_at(self, rows: tf.Tensor) -> tf.Tensor:
        """`[..., dim]` the vectors of values, `[...]` int rows of `table`."""
        return self._look_up(self.table, rows)

    def names_of(self, slots: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Values of categorical features.

        Args:
            slots: `[n, num_slots]` int, of `Encoded`.

        Returns:
            `[n, num_name_slots]` int rows of `table`, and float, how rare each value is.
        """
        own = self._names.take(slots)
        return self._names.localize(own), tf.gather(self.row_weights, own)

    def call(self, encoded: Encoded) -> tf.Tensor:
        """Vectors of items; arguments and result as of `FeatureNetwork.call`."""
        slots = _as_rows(encoded.slots)
        weights = normalize_length(tf.gather(self.row_weights, slots))[..., tf.newaxis]
        rows = self._values.localize(self._values.take(slots))
        vectors = tf.reduce_sum(self.values_at(rows) * self._values.take(weights), axis=1)
        narrow = [_as_rows(encoded.numbers)] if encoded.numbers.shape[-1] else []
        if self.word_table is not None:
            rows = self._words.localize(self._words.take(slots))
            words = self._look_up_word(self.word_table, rows) * self._words.take(weights)
            narrow.append(tf.reduce_sum(words, axis=1))
        if self._projection is not None:
            vectors += self._projection(tf.concat(narrow, axis=1))
        if encoded.slots.shape.rank == 2:
            return vectors
        shape = tf.shape(encoded.slots)[:-1]
        return tf.reshape(vectors, tf.concat([shape, [self._dim]], axis=0))


class _Places:
    """Where some features are in `Encoded.slots`, and their rows in a table of them alone.

    Attributes:
        num_rows: Of that table, with row 0 for empty slots.
        rows: `[n]` int, those of the features that were chosen of it.
    """

    def __init__(
        self, encoder: FeatureEncoder, has: _Choice, is_chosen: _Choice = lambda column: True
    ):
        """Counts them.

        Args:
            encoder: Of all features.
            has: Whether a feature is in the table.
            is_chosen: Whether its slots are wanted, of one that is.
        """
        slots, shifts, rows = [], [], []
        next_slot, self.num_rows = 0, 1
        for column, first_row in zip(encoder.columns, encoder.first_rows, strict=True):
            if has(column) and is_chosen(column):
                slots += range(next_slot, next_slot + column.num_slots)
                shifts += [first_row - self.num_rows] * column.num_slots
                rows += range(self.num_rows, self.num_rows + column.num_rows)
            self.num_rows += column.num_rows * has(column)
            next_slot += column.num_slots
        self.rows = np.array(rows, np.int32)
        self._shifts = np.array(shifts, np.int32)
        self._runs = _runs_of(slots)

    def take(self, values: tf.Tensor) -> tf.Tensor:
        """`[n, num_slots, ...]` of all slots -> of these."""
        # Parts, where a gather would go through them number by number.
        parts = [values[:, start:stop] for start, stop in self._runs]
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=1)

    def localize(self, slots: tf.Tensor) -> tf.Tensor:
        """`[n, ...]` int, taken of `Encoded.slots` -> rows of the table."""
        return tf.where(slots == NO_VALUE, NO_VALUE, slots - self._shifts)


def _runs_of(slots: list[int]) -> list[tuple[int, int]]:
    """The first of each run of neighbours and what is behind its last; an empty run of none.

    >>> _runs_of([0, 1, 4])
    [(0, 2), (4, 5)]
    """
    runs: list[tuple[int, int]] = []
    for slot in slots:
        if runs and runs[-1][1] == slot:
            runs[-1] = runs[-1][0], slot + 1
        else:
            runs.append((slot, slot + 1))
    return runs or [(0, 0)]


def weigh_rows(slots: np.ndarray, num_rows: int) -> np.ndarray:
    """How rare values are: log(1 + num_items / items that have the value).

    Args:
        slots: `[num_items, num_slots]` int, values of all items.
        num_rows: Values in all.

    Returns:
        `[num_rows]` float32; of what no item has as if one had it, 0 of empty slots.

    >>> weigh_rows(np.array([[1, 2], [1, 0]]), 3).round(3)
    array([0.   , 0.693, 1.099], dtype=float32)
    """
    counts = np.bincount(slots.ravel(), minlength=num_rows)
    weights = np.log1p(len(slots) / np.maximum(counts, 1))
    weights[NO_VALUE] = 0
    return weights.astype(np.float32)


def _as_rows(values: tf.Tensor) -> tf.Tensor:
    """`[..., width]` -> `[n, width]`."""
    return values if values.shape.rank == 2 else tf.reshape(values, [-1, values.shape[-1]])


def _share_out(slots: tf.Tensor) -> tf.Tensor:
    """`[width, n]` weight of each slot in the mean over those that hold a value."""
    is_real = tf.cast(slots != NO_VALUE, tf.float32)
    return is_real / tf.maximum(tf.reduce_sum(is_real, axis=0, keepdims=True), 1)


def _is_text(column: FittedColumn) -> bool:
    return column.kind == "text"


def _is_no_text(column: FittedColumn) -> bool:
    return not _is_text(column)


def _add_table(layer: tf.keras.layers.Layer, name: str, num_rows: int, width: int) -> tf.Variable:
    """A table of short random vectors."""
    normal = tf.keras.initializers.RandomNormal(stddev=_STDDEV)
    return layer.add_weight(name, [num_rows, width], initializer=normal)


def _project(stddevs: Sequence[float], dim: int) -> tf.keras.layers.Dense:
    """A matrix `[len(stddevs), dim]`, whose rows begin as long as is said."""

    def draw(shape: Sequence[int], dtype: tf.DType, **_) -> tf.Tensor:
        return tf.random.normal(shape, dtype=dtype) * tf.constant(stddevs, dtype)[:, tf.newaxis]

    layer = tf.keras.layers.Dense(dim, use_bias=False, kernel_initializer=draw, name="projection")
    layer.build([None, len(stddevs)])
    return layer


def _choose_look_up(table: tf.Variable) -> Callable[[tf.Variable, tf.Tensor], tf.Tensor]:
    """What reads rows of a table."""
    is_small = table.shape.num_elements() <= _DENSE_VALUES
    return _look_up_densely if is_small else tf.nn.embedding_lookup


def _look_up_densely(table: tf.Variable, slots: tf.Tensor) -> tf.Tensor:
    """`[..., dim]` rows of a small table, whose gradient is that of all of it.

    A sparse one costs more than the sum over all rows: what occurs more than once has to
    be found, and rows are read and written one by one (measured). Empty slots add nothing,
    and are left out: whoever looks up weighs them by 0.
    """
    num_rows, dim = table.shape

    @tf.custom_gradient
    def gather(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            rows = tf.reshape(upstream, [-1, dim])
            held = tf.reshape(tf.where(slots == NO_VALUE, _NOWHERE, slots), [-1])
            return tf.math.unsorted_segment_sum(rows, held, num_rows)

        return tf.gather(values, slots), gradient

    return gather(tf.convert_to_tensor(table))
