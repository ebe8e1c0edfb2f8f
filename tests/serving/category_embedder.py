"""An item tower that knows categories alone, as a function of them."""

from collections.abc import Callable, Sequence

from serving.live.item_content import EmbeddedItems, ItemContent


class CategoriesAlone:
    """See `ItemEmbedder`."""

    features = ("categories",)

    def __init__(self, embed: Callable[[list[tuple[str, ...]]], EmbeddedItems]):
        self._embed = embed

    def check(self, item_id, features):
        """Nothing is declared, nothing is asked in these tests."""

    def __call__(self, items: Sequence[ItemContent], *, are_new: bool = True) -> EmbeddedItems:
        del are_new
        return self._embed([item.categories for item in items])
