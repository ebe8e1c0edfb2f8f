"""The largest accepted sizes of a request to the recall service.

Imports neither TensorFlow nor NumPy. Every dimension a client can choose has a limit, because
each one costs memory or time.
"""

import array
import dataclasses
from collections.abc import Sequence

from recall.errors import InputError
from serving.api.conditions import ItemCondition, boosts_of, conditions_of
from serving.api.recall_request import POOLED_MERGES, REQUEST_FIELDS, RecallRequest
from serving.api.request_fields import FieldSpec, Kind


@dataclasses.dataclass(frozen=True)
class RecallLimits:
    """Largest accepted sizes of a request; each bounds memory and time."""

    max_k: int = 1000
    """The length of a bundle's fallback list; beyond it ranking stages choke."""
    max_history_length: int = 10_000
    """The longest histories of public logs have a few thousand clicks."""
    max_exclude: int = 10_000
    """Every excluded item is one more to fetch from every interest."""
    max_deny: int = 10_000
    """As `max_exclude`. A request that names no items it is about may deny another
    `max_history_length`: so a front denies, at its shards, what a user has seen."""
    max_allow: int = 10_000
    """Ten times the largest `k`; a rank among more is a matter of categories."""
    max_similar_to: int = 64
    """Each is a query of its own, as an interest is."""
    max_categories: int = 1000
    """More than the shown levels of a shop's category tree; for both lists."""
    max_conditions: int = 32
    """Attributes in `where`; catalogues have some ten that people filter on. Of the values of
    one there may be `max_categories`."""
    max_boosts: int = 8
    """Each may cost an exact search of the items it is for."""
    max_boost: float = 100.0
    """Of `multiply` and the size of `add`: beyond it float32 tells scores no longer apart."""
    max_interests: int = 64
    """Rows of `user_vectors` and `interest_weights`; models have 1 to 8 interests."""
    max_vector_value: float = 1e6
    """Absolute value in `user_vectors`; towers give at most 1. Scores stay finite."""
    max_interest_weight: float = 1e6
    """As `max_vector_value`."""
    max_diversity_weight: float = 100.0
    """Where scores are cosines, 2 already puts diversity before any score."""
    max_leaves_to_search: int = 100_000
    """Beyond the leaves of 10^9 items; the index takes its own number if lower."""
    max_reorder: int = 100_000
    """A hundred times the largest `k`: beyond it `exact` is as cheap."""
    max_metadata_items: int = 100_000
    """Items wanted with titles and categories in one call: a fifth of a second of work."""
    max_batch_size: int = 512
    """Users in one call: about a second of work at the largest `k`."""
    max_queries: int = 4096
    """Vectors to search with in one call: the largest batch with 8 interests."""
    max_text_length: int = 1024
    """Characters of an item id or a category: far longer than any real one."""


_BY_KIND = {
    kind: tuple(field for field in REQUEST_FIELDS if field.kind == kind and field.limit)
    for kind in Kind
}
"""The fields with a limit, by what they are."""

_LISTS = (*_BY_KIND[Kind.TEXTS], *_BY_KIND[Kind.NUMBERS])

_CHOICES = tuple(field for field in REQUEST_FIELDS if field.choices)


def check_requests(requests: Sequence[RecallRequest], limits: RecallLimits) -> None:
    """Compares every size and choice of a batch with what is accepted.

    Raises:
        InputError: A size is beyond its limit, or a value makes no sense.
    """
    check_size("number of requests in a batch", len(requests), limits.max_batch_size)
    for request in requests:
        for field in _BY_KIND[Kind.INTEGER]:
            value = getattr(request, field.name)
            if value is not None:
                _check_range(field.name, value, getattr(limits, field.limit))
        _check_lists(request, limits)
        _check_subject(request, limits)
        _check_weights(request.interest_weights, limits)
        _check_choices(request)
        for field in _BY_KIND[Kind.NUMBER]:
            _check_number(field.name, getattr(request, field.name), getattr(limits, field.limit))
        _check_merge(request)
        _check_conditions("where", conditions_of(request.where), limits)
        _check_boosts(request, limits)
    num_items = sum(request.k for request in requests if request.with_metadata)
    check_size("number of items `with_metadata` in a batch", num_items, limits.max_metadata_items)


def check_one_subject(request: RecallRequest) -> None:
    """Refuses a request that asks for more than one of history, vectors and items.

    Raises:
        InputError: It does.
    """
    given = [name for name in ("history", "similar_to") if getattr(request, name)]
    given += [] if request.user_vectors is None else ["user_vectors"]
    if len(given) > 1:
        raise InputError(f"Give `{given[0]}` or `{given[1]}`, not both.")


def check_num_item_ids(item_ids: Sequence[str], limits: RecallLimits) -> None:
    """Compares items whose vectors are wanted with what is accepted of `similar_to`.

    Raises:
        InputError: There are too many, or one is too long.
    """
    check_size("number of item ids", len(item_ids), limits.max_similar_to)
    longest = max(map(len, item_ids), default=0)
    check_size("length of an item id", longest, limits.max_text_length)


def check_size(what: str, size: int, limit: int) -> None:
    """Refuses a size beyond its limit.

    Raises:
        InputError: It is.
    """
    if size > limit:
        raise InputError(f"The {what} must be at most {limit}, received {size}.")


def _check_lists(request: RecallRequest, limits: RecallLimits) -> None:
    """Compares how many values there are, and how long the texts among them."""
    for field in _LISTS:
        values = getattr(request, field.name)
        if values:
            length = _max_length(field, request, limits)
            check_size(f"length of `{field.name}`", len(values), length)
    for field in _BY_KIND[Kind.TEXTS]:
        values = getattr(request, field.name)
        if values:
            check_size(f"length of {field.text}", max(map(len, values)), limits.max_text_length)


def _max_length(field: FieldSpec, request: RecallRequest, limits: RecallLimits) -> int:
    """The limit of a list."""
    limit = getattr(limits, field.limit)
    if field.name == "deny" and not request.history and not request.similar_to:
        limit += limits.max_history_length
    return limit


def _check_range(name: str, value: int, limit: int) -> None:
    if not 1 <= value <= limit:
        raise InputError(f"`{name}` must be in [1, {limit}], received {value}.")


def _check_subject(request: RecallRequest, limits: RecallLimits) -> None:
    """A request asks for somebody: by history, by vectors or by items."""
    check_one_subject(request)
    vectors = request.user_vectors
    if vectors is None:
        return
    if vectors.ndim != 2 or not vectors.size or vectors.dtype != "float32":
        raise InputError(
            "`user_vectors` must be float32 [num_interests, dim], received "
            f"{vectors.dtype} {list(vectors.shape)}."
        )
    check_size("number of `user_vectors`", len(vectors), limits.max_interests)
    if not (abs(vectors) <= limits.max_vector_value).all():
        raise InputError(
            f"`user_vectors` holds a value that is not in [{-limits.max_vector_value:g}, "
            f"{limits.max_vector_value:g}]."
        )


def _check_weights(weights: Sequence[float], limits: RecallLimits) -> None:
    if not weights:
        return
    if not all(0 <= weight <= limits.max_interest_weight for weight in weights):
        raise InputError(
            f"Every one of `interest_weights` must be in [0, {limits.max_interest_weight:g}], "
            f"received {list(weights)}."
        )
    # As the interests are weighted: a number too small for a float32 is 0 there.
    if not any(array.array("f", weights)):
        raise InputError("One of `interest_weights` must be larger than 0 as a float32.")


def _check_choices(request: RecallRequest) -> None:
    for field in _CHOICES:
        value = getattr(request, field.name)
        if value not in field.choices:
            raise InputError(
                f"`{field.name}` must be one of {', '.join(field.choices)}, received {value!r}."
            )


def _check_number(name: str, value: float, limit: float) -> None:
    if not 0 <= value <= limit:
        raise InputError(f"`{name}` must be in [0, {limit:g}], received {value}.")


def _check_conditions(
    field: str, conditions: Sequence[ItemCondition], limits: RecallLimits
) -> None:
    check_size(f"number of attributes in `{field}`", len(conditions), limits.max_conditions)
    for attribute, any_of, least, most in conditions:
        values = (least, most) if any_of is None else any_of
        name = f"{field}.{attribute:.100}"
        check_size(f"number of values of `{name}`", len(values), limits.max_categories)
        texts = [attribute, *(value for value in values if isinstance(value, str))]
        longest = max(map(len, texts))
        check_size(f"length of a text of `{name}`", longest, limits.max_text_length)


def _check_boosts(request: RecallRequest, limits: RecallLimits) -> None:
    check_size("number of `boosts`", len(request.boosts), limits.max_boosts)
    for place, (where, multiply, add) in enumerate(boosts_of(request.boosts)):
        field = f"boosts[{place}]"
        _check_conditions(f"{field}.where", where, limits)
        most = limits.max_boost
        if not 1 / most <= multiply <= most:
            raise InputError(
                f"`{field}.multiply` must be in [{1 / most:g}, {most:g}], received {multiply:g}."
            )
        if not abs(add) <= most:
            raise InputError(f"`{field}.add` must be in [{-most:g}, {most:g}], received {add:g}.")


def _check_merge(request: RecallRequest) -> None:
    if request.merge in POOLED_MERGES and request.max_per_category is not None:
        raise InputError(
            f"`max_per_category` cannot be combined with `merge` = {request.merge}, which spreads "
            "the answer over categories itself. Leave one of them out."
        )
