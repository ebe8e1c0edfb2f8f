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

    def __call__(self, items: Sequence[ItemContent]) -> EmbeddedItems:
        """Embeds items, at least one."""


class UnknownValues:
    """Counts values of features that no vocabulary has."""

    def __init__(self):
        self.num_values = self.num_unknown = 0

    def describe(self) -> dict[str, int]:
        """The counts, for a status."""
        return {"num_feature_values": self.num_values, "num_unknown_values": self.num_unknown}

    def count(self, embedded: EmbeddedItems) -> None:
        """Adds what was found."""
        if embedded.num_unknown is not None:
            unknown = int(embedded.num_unknown.sum())
            self.num_values += int(embedded.num_known.sum()) + unknown
            self.num_unknown += unknown
