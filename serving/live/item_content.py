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
        max_unknown_share: Share of unknown values that asks for a warning.
    """

    features: tuple[str, ...]
    max_unknown_share: float

    def check(self, item_id: str, features: Mapping[str, Any]) -> None:
        """Refuses features that the model does not declare, or of another kind.

        Raises:
            InputError: One is.
        """

    def __call__(self, items: Sequence[ItemContent]) -> EmbeddedItems:
        """Embeds items, at least one."""


class UnknownValues:
    """Counts values of features that no vocabulary has, and says when they are many."""

    _ENOUGH = 100
    """Values before a share is looked at."""

    def __init__(self, max_share: float):
        self.num_values = self.num_unknown = 0
        self._max_share = max_share
        self._has_warned = False

    def describe(self) -> dict[str, int]:
        """The counts, for a status."""
        return {"num_feature_values": self.num_values, "num_unknown_values": self.num_unknown}

    def count(self, embedded: EmbeddedItems) -> str | None:
        """Adds what was found, and returns a warning the first time the share is too high."""
        if embedded.num_unknown is None:
            return None
        unknown = int(embedded.num_unknown.sum())
        self.num_values += int(embedded.num_known.sum()) + unknown
        self.num_unknown += unknown
        share = self.num_unknown / max(self.num_values, 1)
        if self._has_warned or self.num_values < self._ENOUGH or share <= self._max_share:
            return None
        self._has_warned = True
        return (
            f"{share:.1%} of the feature values of upserted items are outside of the model's "
            f"vocabulary (limit features.max_unknown_share = {self._max_share:g}): they say "
            "nothing. Write values as in the items file, or train with a newer one."
        )
