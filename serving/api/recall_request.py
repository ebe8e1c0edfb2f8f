"""What goes into the recall service and what comes out.

Imports no TensorFlow. The limits are in `recall_limits`.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

RECALL_MODEL = "recall"
"""Name of the recall service among the models of a server."""

FALLBACK_INTEREST = -1
"""Interest of an item that no interest found but the fallback list."""

MERGE_MAX_SCORE, MERGE_QUOTA, MERGE_DIVERSITY = "max_score", "quota", "diversity"
MERGE_MODES = (MERGE_MAX_SCORE, MERGE_QUOTA, MERGE_DIVERSITY)
"""How the lists of a user's interests become one; see `RecallRequest.merge`."""


@dataclasses.dataclass(frozen=True, eq=False)
class RecallRequest:
    """What one user is to be recommended.

    A request gives `history`, `user_vectors` or `similar_to`, at most one of
    them. An empty filter is no filter.

    Attributes:
        history: Raw item ids, oldest first; unknown ids are ignored. Without
            a known one the answer is popular items.
        k: Items wanted.
        exclude: Raw ids of items that must not be in the answer.
        include_seen: Whether items of the history may be in the answer.
        user_vectors: `[num_interests, dim]` ready vectors of the user tower,
            instead of a history.
        fingerprint: Embedding space of `user_vectors`; "" is not checked.
        similar_to: Raw ids; items like these are wanted, from the same index.
            They take the place of interests and are left out themselves.
        allow: Raw ids; when given, the answer holds only these.
        deny: As `exclude`: for lists of a shop, not of a user. Wins over
            `allow`.
        categories: When given, every item has at least one of these.
        exclude_categories: No item has one of these.
        max_per_category: At most so many items of any one category, None for
            no limit. An item counts for each of its categories. Here and in
            `diversity` a category counts nowhere that nearly all items of the
            release have (`recall.categories`).
        interest_weights: One number >= 0 per interest; an interest of weight
            0 is not used. Otherwise the scores of an interest are multiplied
            by its weight, except with `merge="quota"`, where weights are
            shares of the answer. Empty: all scores count as they are, and
            quotas are the user tower's weights, or equal without a history.
        merge: `max_score` orders items by their largest score; `quota` does
            too, but gives each interest its share of the `k` places;
            `diversity` picks one by one the item with the largest score +
            `diversity_weight` * (number of picked items it shares no category
            with), from the `DIVERSITY_POOL * k` items of largest score.
        diversity_weight: Lambda of ComiRec's controllable aggregation; the
            default is the middle of the values its authors try.
        leaves_to_search: Leaves of the index to look into, None for its own
            number.
        reorder: Candidates the index scores exactly, None for its own number.
        exact: Whether every item is scored.
    """

    history: tuple[str, ...] = ()
    k: int = 20
    exclude: tuple[str, ...] = ()
    include_seen: bool = False
    user_vectors: np.ndarray | None = None
    fingerprint: str = ""
    similar_to: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    exclude_categories: tuple[str, ...] = ()
    max_per_category: int | None = None
    interest_weights: tuple[float, ...] = ()
    merge: str = MERGE_MAX_SCORE
    diversity_weight: float = 0.1
    leaves_to_search: int | None = None
    reorder: int | None = None
    exact: bool = False


DIVERSITY_POOL = 4
"""Items `merge="diversity"` chooses from per item wanted: with 4 interests, as
many as ComiRec's own evaluation does."""


class RecalledItem(NamedTuple):
    """One item of an answer.

    Attributes:
        item_id: Raw id.
        score: Largest inner product with an interest, times the interest's
            weight; 0 from the fallback list.
        interest: The interest that gave the score, -1 for the fallback list.
    """

    item_id: str
    score: float
    interest: int


@dataclasses.dataclass(frozen=True, eq=False)
class RecallResponse:
    """The answer for one user; items as columns, best first, each item once.

    Attributes:
        item_ids: `[n]` bytes, raw ids in UTF-8: `k`, or all there are that
            the request allows.
        scores: `[n]` float32, see `RecalledItem`.
        interests: `[n]` int32, see `RecalledItem`.
        is_fallback: Whether the request named no known item, so that the
            items are popular ones.
        num_known: Ids of the history, or of `similar_to`, that are items.
        num_unknown: Those that are not.
        model_version: Version of the user tower; 0 if it was not asked.
        index_version: Version of the index.
        degraded: Whether the deadline cut the search short, so that items may
            be missing or not be the best.
        coverage: Share of the items wanted that a degraded answer holds,
            else 1.
    """

    item_ids: np.ndarray
    scores: np.ndarray
    interests: np.ndarray
    is_fallback: bool
    num_known: int
    num_unknown: int
    model_version: int
    index_version: int
    degraded: bool = False
    coverage: float = 1.0

    @functools.cached_property
    def items(self) -> tuple[RecalledItem, ...]:
        """The items as Python objects."""
        columns = (self.item_ids, self.scores, self.interests)
        return tuple(
            RecalledItem(item_id.decode(), score, interest)
            for item_id, score, interest in zip(*(c.tolist() for c in columns), strict=True)
        )

    def facts(self) -> dict[str, Any]:
        """What the answer says beside its items, by name."""
        return {name: getattr(self, name) for name in RESPONSE_FACTS}


RESPONSE_FACTS = tuple(field.name for field in dataclasses.fields(RecallResponse))[3:]
"""Names of the values of an answer that are not columns of items."""
