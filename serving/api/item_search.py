"""What callers may ask about items by their texts and ids, and what is answered.

Imports neither TensorFlow nor NumPy.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from recall.errors import InputError
from recall.item_ids import is_unicode
from serving.api.item_changes import MAX_CHANGES, MAX_ID_LENGTH, ItemChanger
from serving.api.recall_limits import check_size

DEFAULT_FOUND = 10
"""Items that a search is asked for where nothing else is said: a list under a text field."""

MAX_FOUND = 100
"""Items of one search: more are read by nobody."""

MAX_QUERY_LENGTH = 256
"""Characters to search with; long titles have as many."""

MAX_LOOKED_UP = MAX_CHANGES
"""Items of one call."""


class FoundItem(NamedTuple):
    """What is known of one item.

    Attributes:
        item_id: Raw id.
        title: "" where there is none.
        categories: Names.
        num_clicks: In the log of the release; 0 of items that came later.
        in_release: Whether the release has it; if not, an upsert brought it.
        is_served: Whether it may be in answers: not where it was deleted, or nobody
            knows it.
    """

    item_id: str
    title: str = ""
    categories: tuple[str, ...] = ()
    num_clicks: int = 0
    in_release: bool = False
    is_served: bool = False


class FoundItems(NamedTuple):
    """The answer to a search, best first; of equally good ones the more popular.

    Attributes:
        items: At most as many as were asked for.
        ranks: How well each matches; lower is better. See `serving.index.text_search`.
        is_complete: Whether all items were looked at; later searches look further.
    """

    items: tuple[FoundItem, ...]
    ranks: tuple[int, ...]
    is_complete: bool


class ItemFinder(Protocol):
    """Finds items as they are now; may be used from several threads."""

    def search(
        self,
        query: str,
        k: int = DEFAULT_FOUND,
        *,
        version: int | None = None,
        timeout_s: float | None = None,
    ) -> FoundItems:
        """Items whose title or id has the words that somebody types.

        Case, accents and punctuation do not count, and a word may be the beginning of one.

        Args:
            query: What is typed.
            k: Most items.
            version: The version that is asked; None for the newest.
            timeout_s: Time left.

        Raises:
            InputError: The query is too long, or `k` out of range.
            ServingError: There is no answer.
        """

    def look_up(
        self,
        item_ids: Sequence[str],
        *,
        version: int | None = None,
        timeout_s: float | None = None,
    ) -> list[FoundItem]:
        """What is known of items, one entry for every id; raises as `search`."""


class ServedItems(ItemChanger, ItemFinder, Protocol):
    """What the model `items` is in front of: the items of this machine, or those of shards."""


def check_search(query: str, k: int) -> None:
    """Refuses searches beyond their limits.

    Raises:
        InputError: The query is too long or no text, or `k` out of range.
    """
    check_size("length of `query`", len(query), MAX_QUERY_LENGTH)
    if not is_unicode(query):
        raise InputError("`query` is not valid Unicode.")
    if not 1 <= k <= MAX_FOUND:
        raise InputError(f"`k` must be in [1, {MAX_FOUND}], received {k}.")


def check_look_up(item_ids: Sequence[str]) -> None:
    """Refuses more ids than one call may ask for, and what is no id.

    Raises:
        InputError: There are too many, or one is too long or no text.
    """
    check_size("number of ids", len(item_ids), MAX_LOOKED_UP)
    for item_id in item_ids:
        if not is_unicode(item_id):
            raise InputError(f"Item id {item_id!r} is not valid Unicode.")
        check_size("length of an item id", len(item_id), MAX_ID_LENGTH)
