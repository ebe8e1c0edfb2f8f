"""What goes into the recall service and what comes out.

Imports neither TensorFlow nor NumPy: `recall query --help` reads the fields of a
request here. The limits are in `recall_limits`.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from serving.api.conditions import UnknownValue
from serving.api.request_fields import FieldSpec, Kind, RequestFlag, declare, specs_of

if TYPE_CHECKING:
    import numpy as np

RECALL_MODEL = "recall"
"""Name of the recall service among the models of a server."""

FALLBACK_INTEREST = -1
"""Interest of an item that no interest found but the fallback list."""

MERGE_MAX_SCORE, MERGE_QUOTA, MERGE_DIVERSITY = "max_score", "quota", "diversity"
MERGE_NEW_CATEGORIES = "new_categories"
MERGE_MODES = (MERGE_MAX_SCORE, MERGE_QUOTA, MERGE_DIVERSITY, MERGE_NEW_CATEGORIES)
"""How the lists of a user's interests become one; see `RecallRequest.merge`."""

POOLED_MERGES = (MERGE_DIVERSITY, MERGE_NEW_CATEGORIES)
"""Those that choose from a pool of more items than are wanted."""


@dataclasses.dataclass(frozen=True, eq=False)
class RecallRequest:
    """What one user is to be recommended.

    Here alone is said what a field is; see `request_fields`.

    A request gives `history`, `user_vectors` or `similar_to`, at most one of
    them. An empty filter is no filter.

    Attributes:
        history: Raw item ids, oldest first; unknown ids are ignored. Without a known one the
            answer is popular items, unless `context` has a feature that the model knows.
        k: Items wanted.
        exclude: Raw ids of items that must not be in the answer.
        include_seen: Whether items of the history may be in the answer.
        user_vectors: `[num_interests, dim]` ready vectors of the user tower, instead of a history:
            float32 in a server, from a client also lists.
        fingerprint: Embedding space of `user_vectors`; "" is not checked.
        similar_to: Raw ids; items like these are wanted, from the same index. They take the place
            of interests and are left out themselves.
        allow: Raw ids; when given, the answer holds only these.
        deny: As `exclude`: for lists of a shop, not of a user. Wins over `allow`.
        categories: When given, every item has at least one of these.
        exclude_categories: No item has one of these.
        max_per_category: At most so many items of any one category, None for no limit. An item
            counts for each of its categories. Here and in `diversity` a category counts nowhere
            that nearly all items of the release have (`recall.categories`).
        interest_weights: One number >= 0 per interest; an interest of weight 0 is not used.
            Otherwise the scores of an interest are multiplied by its weight, except with
            `merge="quota"`, where weights are shares of the answer. Empty: all scores count as
            they are, and quotas are the user tower's weights, or equal without a history.
        merge: `max_score` orders items by their largest score; `quota` does too, but gives each
            interest its share of the `k` places; `diversity` picks one by one the item with the
            largest score + `diversity_weight` * (number of picked items it shares no category
            with), from the `DIVERSITY_POOL * k` items of largest score; `new_categories` too, but
            + `diversity_weight` once, where it shares one with none of them.
        diversity_weight: Lambda of ComiRec's controllable aggregation; the default is the middle
            of the values its authors try.
        leaves_to_search: Leaves of the index to look into, None for its own number.
        reorder: Candidates the index scores exactly, None for its own number.
        exact: Whether every item is scored.
        where: Name of an attribute of items -> what it must be: a value, a list of values (any of
            them), or a range `{"min": 5, "max": 20}` whose ends belong to it. An item fulfils all.
            Attributes are the features of items and the attributes that the release declares, and
            `categories`; the answer to another name lists them.
        boosts: Objects with `where` and with `multiply`, `add` or both: the scores of items that
            fulfil it count times `multiply` (> 0), plus `add`. Several for one item are
            multiplied, and added up. Popular items keep their order.
        context: What is known beside the history, by name: `history_timestamps` (whole seconds
            since 1970, one for each click), `request_timestamp` (else the server's clock) and the
            features that the release declares of users, of requests and of clicks (`history_` and
            the name, one value for each click). A user without clicks gets an answer from her
            features. `GetModelMetadata` of the user tower (`with_context`) has the names and types.
        with_metadata: Whether the answer has titles and categories.
        with_interests: Whether the answer has the weights of the interests.
    """

    history: tuple[str, ...] = declare(
        (),
        Kind.TEXTS,
        input_name="history_item_ids",
        is_subject=True,
        limit="max_history_length",
        flag=RequestFlag(
            "Ids of the items the user clicked, oldest first, separated by commas.", "IDS"
        ),
    )
    k: int = declare(20, Kind.INTEGER, limit="max_k", flag=RequestFlag("Items wanted.", "N"))
    exclude: tuple[str, ...] = declare(
        (),
        Kind.TEXTS,
        input_name="exclude_item_ids",
        limit="max_exclude",
        flag=RequestFlag("Ids of items that must not be in the answer.", "IDS"),
    )
    include_seen: bool = declare(
        False,
        Kind.SWITCH,
        subject="history",
        flag=RequestFlag("Also recalls items of the history."),
    )
    user_vectors: "np.ndarray | list[list[float]] | None" = declare(
        None, Kind.VECTORS, is_subject=True, limit="max_interests"
    )
    fingerprint: str = declare("", Kind.TEXT, subject="user_vectors")
    similar_to: tuple[str, ...] = declare(
        (),
        Kind.TEXTS,
        input_name="similar_to_item_ids",
        is_subject=True,
        limit="max_similar_to",
        flag=RequestFlag(
            "Ids of items; instead of --history, items like these are wanted.", "IDS", after="k"
        ),
    )
    allow: tuple[str, ...] = declare(
        (),
        Kind.TEXTS,
        input_name="allow_item_ids",
        is_restriction=True,
        limit="max_allow",
        flag=RequestFlag("Ids of the only items that may be in the answer.", "IDS"),
    )
    deny: tuple[str, ...] = declare((), Kind.TEXTS, input_name="deny_item_ids", limit="max_deny")
    categories: tuple[str, ...] = declare(
        (),
        Kind.TEXTS,
        text="a category",
        is_restriction=True,
        limit="max_categories",
        flag=RequestFlag("Only items that have at least one of these categories.", "NAMES"),
    )
    exclude_categories: tuple[str, ...] = declare(
        (),
        Kind.TEXTS,
        text="a category",
        limit="max_categories",
        flag=RequestFlag("No items that have one of these categories.", "NAMES"),
    )
    max_per_category: int | None = declare(
        None,
        Kind.INTEGER,
        limit="max_k",
        flag=RequestFlag("Most items of any one category. Without it there is no limit.", "N"),
    )
    interest_weights: tuple[float, ...] = declare(
        (),
        Kind.NUMBERS,
        limit="max_interests",
        flag=RequestFlag(
            "One number per interest, which multiplies its scores; 0 leaves the interest out. "
            "With --merge=quota: the interest's share of the answer.",
            "NUMBERS",
        ),
    )
    merge: str = declare(
        MERGE_MAX_SCORE,
        Kind.TEXT,
        choices=MERGE_MODES,
        flag=RequestFlag(
            "How the lists of the interests become one: max_score, quota (each interest has its "
            "share of the places), diversity (score against difference of categories) or "
            "new_categories (an item of none of the categories so far counts more).",
            "MODE",
        ),
    )
    diversity_weight: float = declare(
        0.1,
        Kind.NUMBER,
        limit="max_diversity_weight",
        flag=RequestFlag(
            "With --merge=diversity or new_categories: what a difference is worth.", "N"
        ),
    )
    leaves_to_search: int | None = declare(None, Kind.INTEGER, limit="max_leaves_to_search")
    reorder: int | None = declare(None, Kind.INTEGER, limit="max_reorder")
    exact: bool = declare(
        False,
        Kind.SWITCH,
        flag=RequestFlag("Scores every item instead of asking the index."),
    )
    where: Mapping[str, Any] | None = declare(
        None,
        Kind.CONDITIONS,
        limit="max_conditions",
        flag=RequestFlag(
            "What attributes of items must be, as JSON: a value, a list (any of them) or a range, "
            'for example \'{"brand": ["acme", "apex"], "price": {"max": 20}}\'.',
            "JSON",
        ),
    )
    boosts: tuple[Mapping[str, Any], ...] = declare(
        (),
        Kind.BOOSTS,
        limit="max_boosts",
        flag=RequestFlag(
            "Changes scores of some items, as JSON: "
            '\'[{"where": {"brand": "acme"}, "multiply": 1.2, "add": 0.1}]\'.',
            "JSON",
        ),
    )
    context: Mapping[str, Any] | None = declare(
        None,
        Kind.VALUES,
        subject="history",
        flag=RequestFlag(
            "What is known of the user beside the history, as JSON: features that the release "
            'declares, and times of clicks, for example \'{"country": "NL", "age": 31}\'.',
            "JSON",
        ),
    )
    with_metadata: bool = declare(
        False,
        Kind.SWITCH,
        flag=RequestFlag("Also shows the title and the categories of every item."),
    )
    with_interests: bool = declare(
        False,
        Kind.SWITCH,
        flag=RequestFlag("Also shows the weight that the user tower gives each interest."),
    )


REQUEST_FIELDS: tuple[FieldSpec, ...] = specs_of(RecallRequest)
"""What is declared of every field, in their order."""

DIVERSITY_POOL = 4
"""Items `merge="diversity"` chooses from per item wanted: with 4 interests, as
many as ComiRec's own evaluation does."""


class RecalledItem(NamedTuple):
    """One item of an answer.

    Attributes:
        item_id: Raw id.
        score: Largest inner product with an interest, times the interest's weight; 0 from the
            fallback list.
        interest: The interest that gave the score, -1 for the fallback list.
    """

    item_id: str
    score: float
    interest: int


class ItemMetadata(NamedTuple):
    """What is known of the items of an answer beside their ids; one entry per item.

    Attributes:
        titles: "" where there is none.
        categories: Names, in the order of the release or of the upsert.
    """

    titles: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class RecallResponse:
    """The answer for one user; items as columns, best first, each item once.

    The columns are arrays of NumPy in a server. A client has lists: texts, floats and
    integers.

    Attributes:
        item_ids: `[n]` bytes, raw ids in UTF-8: `k`, or all there are that the request allows.
        scores: `[n]` float32, see `RecalledItem`.
        interests: `[n]` int32, see `RecalledItem`.
        is_fallback: Whether the request named nothing known, so that the items are popular ones.
        num_known: Ids of the history, or of `similar_to`, that are items.
        num_unknown: Those that are not.
        model_version: Version of the user tower; 0 if it was not asked.
        index_version: Version of the index.
        degraded: Whether the deadline cut the search short: items may be missing, or not the best.
        coverage: Share of the items wanted that a degraded answer holds, else 1.
        metadata: Titles and categories, None where the request did not ask.
        interest_weights: The user tower's weight of every interest; () where it was not asked or
            knows none of the history, None where the request did not ask.
        unknown_values: Names in `where` and `boosts` that no item has; they count for nothing.
        unknown_categories: The same of `categories` and `exclude_categories`, in their order.
        rows: `[n]` int64, rows of the items in the view that was searched, for code beside the
            service; None at a client and from shards.
    """

    item_ids: "np.ndarray | list[str]"
    scores: "np.ndarray | list[float]"
    interests: "np.ndarray | list[int]"
    is_fallback: bool
    num_known: int
    num_unknown: int
    model_version: int
    index_version: int
    degraded: bool = False
    coverage: float = 1.0
    metadata: ItemMetadata | None = None
    interest_weights: tuple[float, ...] | None = None
    unknown_categories: tuple[str, ...] = ()
    unknown_values: tuple[UnknownValue, ...] = ()
    rows: "np.ndarray | None" = None

    @functools.cached_property
    def items(self) -> tuple[RecalledItem, ...]:
        """The items as Python objects."""
        columns = (self.item_ids, self.scores, self.interests)
        if not isinstance(self.item_ids, list):
            ids, *numbers = (column.tolist() for column in columns)
            columns = ([item_id.decode() for item_id in ids], *numbers)
        return tuple(itertools.starmap(RecalledItem, zip(*columns, strict=True)))

    def facts(self) -> dict[str, Any]:
        """What the answer says beside its items, by name."""
        return {name: getattr(self, name) for name in RESPONSE_FACTS}


RESPONSE_FACTS = tuple(field.name for field in dataclasses.fields(RecallResponse))[3:-5]
"""Names of the values that every answer has beside its columns of items."""
