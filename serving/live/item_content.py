"""What is known of an item besides its id, and who makes a vector of it.

Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np


class ItemContent(NamedTuple):
    """One item to be embedded.

    Attributes:
        item_id: Raw id.
        categories: Category names.
        title: "" where there is none.
        features: Name of a declared feature -> value; None where nothing was said.
    """

    item_id: str
    categories: tuple[str, ...] = ()
    title: str = ""
    features: Mapping[str, Any] | None = None


class EmbeddedItems(NamedTuple):
    """What the item tower says of items by their content.

    Attributes:
        vectors: `[n, dim]` float32.
        num_known: `[n]` int, categories or values of each item the tower knows; without
            one its vector means nothing.
        fingerprint: Embedding space of the vectors.
        num_unknown: `[n]` int, values outside of the tower's vocabularies; None: not counted.
    """

    vectors: np.ndarray
    num_known: np.ndarray
    fingerprint: str
    num_unknown: np.ndarray | None = None


class ItemEmbedder(Protocol):
    """An item tower.

    Attributes:
        features: Names of the features that its model declares.
    """

    features: tuple[str, ...]

    def check(self, item_id: str, features: Mapping[str, Any]) -> None:
        """Refuses features that the model does not declare, or of another kind.

        Raises:
            InputError: One is.
        """

    def __call__(self, items: Sequence[ItemContent], *, are_new: bool = True) -> EmbeddedItems:
        """Embeds items, at least one.

        Args:
            items: By their content.
            are_new: Whether somebody has just said it; else it was counted then.
        """


class CountedValues(NamedTuple):
    """Values of features of some items.

    Attributes:
        num_values: All of them.
        num_unknown: Those that no vocabulary has.
    """

    num_values: int = 0
    num_unknown: int = 0

    @classmethod
    def of(cls, embedded: EmbeddedItems) -> "CountedValues":
        """Those of embedded items; nothing where the tower does not count."""
        if embedded.num_unknown is None:
            return cls()
        unknown = int(embedded.num_unknown.sum())
        return cls(int(embedded.num_known.sum()) + unknown, unknown)


class UnknownValues:
    """Counts values of features that no vocabulary has."""

    def __init__(self):
        self._counts = CountedValues()

    def describe(self) -> dict[str, int]:
        """The counts, for a status."""
        return {
            "num_feature_values": self._counts.num_values,
            "num_unknown_values": self._counts.num_unknown,
        }

    def add(self, counts: CountedValues) -> None:
        """Adds those of changes that are made."""
        self._counts = CountedValues(
            self._counts.num_values + counts.num_values,
            self._counts.num_unknown + counts.num_unknown,
        )
