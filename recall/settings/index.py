"""The section `index` of the settings: how items are searched, and which ones.

Imports no TensorFlow.
"""

import dataclasses
import typing

from recall.plain_values import require_choice, require_setting


@dataclasses.dataclass(frozen=True)
class IndexConfig:
    """The nearest-neighbour index and the gate it has to pass."""

    kind: str = "auto"
    """`auto` (ScaNN from `min_scann_items` on), `scann` or `exact`."""
    min_scann_items: int = 20_000
    """Below this exact search is used, which is always right and cheap enough."""
    leaves_to_search_fraction: float = 0.05
    """Share of the tree's leaves a query looks into, at first."""
    target_recall: float = 0.98
    """More leaves, then fewer, then a larger `reorder` are tried until recall@100 against
    exact search is this high. `auto` takes exact search where none of them has it, or
    where exact search takes less processor time than what has it."""
    reorder: int = 600
    """Candidates whose score is recomputed exactly, at least; more than the 200 to 500
    items a request usually wants."""
    min_index_recall: float = 0.95
    """An index whose recall@100 against exact search is lower is refused."""
    min_clicks: int = 0
    """Items with fewer training clicks are left out of the index. 0 keeps all: where items have
    features, also those that nobody clicked can be found by them."""

    KINDS: typing.ClassVar = ("auto", "scann", "exact")

    def __post_init__(self):
        require_choice("index.kind", self.kind, self.KINDS)
        require_setting(self.reorder >= 1, "index.reorder", self.reorder, ">= 1")
        require_setting(
            self.min_scann_items >= 1, "index.min_scann_items", self.min_scann_items, ">= 1"
        )
        require_setting(
            0 < self.leaves_to_search_fraction <= 1,
            "index.leaves_to_search_fraction",
            self.leaves_to_search_fraction,
            "in (0, 1]",
        )
        require_setting(self.min_clicks >= 0, "index.min_clicks", self.min_clicks, "0 or more")
        for name in ("target_recall", "min_index_recall"):
            value = getattr(self, name)
            require_setting(0 <= value <= 1, f"index.{name}", value, "in [0, 1]")
