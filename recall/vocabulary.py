"""Raw item ids, their dense numbers, click counts, categories and titles.

Imports no TensorFlow. Reads and writes no files: `to_table` and `from_table`
convert to and from Arrow, which the pipelines store as Parquet.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recall.errors import InputError
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.item_ids import check_item_ids

if TYPE_CHECKING:
    import pyarrow as pa

PADDING_ID = 0
"""Dense id of an empty slot in a history."""

UNKNOWN_ID = 1
"""Dense id of every item that is not in the vocabulary."""

FIRST_ITEM_ID = 2
"""Dense id of row 0 of the vocabulary; row r has dense id r + 2.

Padding, then one unknown id, then the items is also the order in which Keras'
`StringLookup` numbers a vocabulary.
"""

PADDING_TOKEN = ""
"""Raw id of an empty slot in a history; never the id of an item."""


@functools.cache
def schema() -> "pa.Schema":
    """Columns of a vocabulary as an Arrow table."""
    import pyarrow as pa  # Clients, which check ids, need none.

    return pa.schema(
        [
            ("item_id", pa.string()),
            ("count", pa.int64()),
            ("categories", pa.list_(pa.string())),
            ("title", pa.string()),
        ]
    )


class ItemVocabulary:
    """The catalogue a model knows, immutable, in the order of its dense ids.

    Attributes:
        item_ids: `[num_items]` str, raw ids.
        counts: `[num_items]` int64, clicks in the training part of the log.
        categories: One tuple of category names per item, possibly empty.
        titles: `[num_items]` str, "" where there is none.
        features: Values of the declared features of the items; None where there are none.
            They are kept in a table of their own (`ItemFeatures.to_table`).
        users: Values of the declared features of users, row by row of a users file; None where
            there are none. A model keeps what was learnt of the values and no rows.
        log_columns: Features of events and of requests, with what was learnt of their values;
            the values are in examples.
    """

    def __init__(
        self,
        item_ids: Sequence[str],
        counts: Sequence[int] | None = None,
        categories: Sequence[Sequence[str]] | None = None,
        titles: Sequence[str] | None = None,
        features: ItemFeatures | None = None,
        users: ItemFeatures | None = None,
        log_columns: Sequence[FittedColumn] = (),
    ):
        """Creates a vocabulary.

        Args:
            item_ids: Raw ids, distinct and not empty.
            counts: Training clicks per item; None means 0 everywhere.
            categories: Category names per item; None means no categories.
            titles: Text for people per item; None means no titles.
            features: Values of the declared features, row by row.
            users: Values of the features of users.
            log_columns: Features of events and of requests.

        Raises:
            InputError: There are no items, an id is empty, repeated or one that
                no release can hold, or the lengths differ.
        """
        self.item_ids = tuple(str(item_id) for item_id in item_ids)
        size = len(self.item_ids)
        self.counts = np.zeros(size, np.int64) if counts is None else np.asarray(counts, np.int64)
        self.counts.flags.writeable = False
        self.categories = (
            ((),) * size if categories is None else tuple(tuple(names) for names in categories)
        )
        self.titles = ("",) * size if titles is None else tuple(title or "" for title in titles)
        self.features = features
        self.users = users
        self.log_columns = tuple(log_columns)
        self._row_of = {item_id: row for row, item_id in enumerate(self.item_ids)}
        self._check()

    def _check(self) -> None:
        size = len(self.item_ids)
        if size == 0:
            raise InputError("The vocabulary has no items. Check the log and the minimum counts.")
        if PADDING_TOKEN in self._row_of:
            raise InputError("The vocabulary holds an empty item id. Remove it from the log.")
        if len(self._row_of) != size:
            raise InputError(
                f"The vocabulary repeats {size - len(self._row_of)} item ids. "
                "Keep one row per item."
            )
        check_item_ids(self.item_ids)
        for name in ("counts", "categories", "titles"):
            if len(getattr(self, name)) != size:
                raise InputError(
                    f"The vocabulary has {size} items but {len(getattr(self, name))} `{name}`."
                )
        if self.features is not None and len(self.features) != size:
            raise InputError(
                f"The vocabulary has {size} items but {len(self.features)} rows of features."
            )

    def with_features(self, features: ItemFeatures | None) -> "ItemVocabulary":
        """The same items with values of features, row by row."""
        return self._with(features=features)

    def with_users(self, users: ItemFeatures | None) -> "ItemVocabulary":
        """The same items beside values of features of users."""
        return self._with(users=users)

    def with_log_columns(self, columns: Sequence[FittedColumn]) -> "ItemVocabulary":
        """The same items beside features of events and of requests."""
        return self._with(log_columns=columns)

    def _with(self, **more: Any) -> "ItemVocabulary":
        columns = (self.item_ids, self.counts, self.categories, self.titles)
        kept = {name: getattr(self, name) for name in ("features", "users", "log_columns")}
        return ItemVocabulary(*columns, **(kept | more))

    def without_examples(self) -> "ItemVocabulary":
        """The same with what was learnt of features, but nobody's values, and no numbers of
        examples."""
        users = self.users
        if users is not None:
            users = ItemFeatures(users.columns, users.table.slice(0, 0))
        columns = [column.with_numbers(()) for column in self.log_columns]
        return self._with(users=users, log_columns=columns)

    def __len__(self) -> int:
        return len(self.item_ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._row_of

    @property
    def num_items(self) -> int:
        """Number of items, without padding and the unknown id."""
        return len(self.item_ids)

    @property
    def table_size(self) -> int:
        """Rows of an embedding table that covers every dense id."""
        return len(self.item_ids) + FIRST_ITEM_ID

    def to_dense(self, item_ids: Iterable[str]) -> np.ndarray:
        """Raw ids -> `[n]` int64 dense ids; "" becomes padding, others unknown.

        >>> ItemVocabulary(["a", "b"]).to_dense(["b", "", "zebra", "a"])
        array([3, 0, 1, 2])
        """
        return np.fromiter(
            (
                PADDING_ID if raw == PADDING_TOKEN else self._row_of.get(raw, -1) + FIRST_ITEM_ID
                for raw in item_ids
            ),
            dtype=np.int64,
        )

    def to_raw(self, dense_ids: Iterable[int]) -> list[str]:
        """Dense ids of real items -> raw ids.

        Raises:
            InputError: An id is padding, unknown or out of range.
        """
        raw = []
        for dense in dense_ids:
            row = int(dense) - FIRST_ITEM_ID
            if not 0 <= row < len(self.item_ids):
                raise InputError(
                    f"Dense id {int(dense)} is no item; items have {FIRST_ITEM_ID} to "
                    f"{len(self.item_ids) + FIRST_ITEM_ID - 1}."
                )
            raw.append(self.item_ids[row])
        return raw

    def take(self, rows: Sequence[int]) -> "ItemVocabulary":
        """The vocabulary of some rows, in their order.

        >>> ItemVocabulary(["a", "b", "c"]).take([2, 0]).item_ids
        ('c', 'a')
        """
        columns = (self.item_ids, self.counts, self.categories, self.titles)
        features = None if self.features is None else self.features.take(rows)
        return ItemVocabulary(
            *([c[row] for row in rows] for c in columns),
            features=features,
            users=self.users,
            log_columns=self.log_columns,
        )

    def to_table(self) -> "pa.Table":
        """The vocabulary as an Arrow table with the columns of `schema`."""
        import pyarrow as pa

        columns = [self.item_ids, self.counts, [list(c) for c in self.categories], self.titles]
        arrays = [pa.array(c, type=f.type) for c, f in zip(columns, schema(), strict=True)]
        return pa.Table.from_arrays(arrays, schema=schema())

    @classmethod
    def from_table(cls, table: "pa.Table") -> "ItemVocabulary":
        """Inverse of `to_table`.

        Raises:
            InputError: A column is missing, or the content is not valid.
        """
        missing = [name for name in schema().names if name not in table.column_names]
        if missing:
            raise InputError(f"The vocabulary table lacks the column {missing[0]!r}.")
        item_ids, counts, categories, titles = (table[n].to_pylist() for n in schema().names)
        return cls(item_ids, counts, categories, titles)
