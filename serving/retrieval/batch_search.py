"""The searches of a batch of users: together where they can be, none longer than allowed.

Imports no TensorFlow. Cheap searches first: the index; the index asked for
more; then the scores of all rows for those whose answer is still short.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from serving.index.catalogue import CatalogueView
from serving.index.item_index import SearchParameters
from serving.retrieval.search import UserSearch

_WIDENINGS = (1, 4)
"""Factors on the items asked of the index and on how far it looks, one search each."""

_MAX_ENTRIES = 1 << 17
"""Entries of result lists held at a time, 1.5 MB: some 100 ms of work, after which the
time is looked at again."""


def search_batch(
    view: CatalogueView, searches: Sequence[UserSearch], exact: Sequence[bool]
) -> None:
    """Runs every search until it is complete, or late.

    Args:
        view: The items.
        searches: Filled in place; those that got late may be incomplete.
        exact: Per search, whether the index may not be used.
    """
    for factor in _WIDENINGS:
        indexed = [
            search
            for search, only_exact in zip(searches, exact, strict=True)
            if not (search.is_complete or only_exact or search.is_tight)
        ]
        for asked, parameters, group in _groups(indexed, factor):
            group = [search for search in group if not search.is_late]
            if not group:
                continue
            queries = np.concatenate([search.vectors for search in group])
            found = view.search(queries, asked, parameters)
            start = 0
            for search in group:
                lists = slice(start, start + len(search.vectors))
                search.take(found.rows[lists], found.scores[lists], asked)
                start = lists.stop
    for search in searches:
        if not (search.is_complete or search.is_late):
            search.search_exactly()


def _groups(
    searches: Sequence[UserSearch], factor: int
) -> Iterator[tuple[int, SearchParameters, list[UserSearch]]]:
    """Searches that ask for the same number of items with the same parameters.

    Numbers are rounded so that most of a batch falls into few groups, but by
    each search alone: an answer does not depend on who else is in the batch.
    """
    groups: dict[tuple[int, SearchParameters], list[UserSearch]] = defaultdict(list)
    for search in searches:
        parameters = search.parameters._replace(effort=factor * search.effort)
        groups[_round_up(search.num_to_fetch * factor), parameters].append(search)
    for (asked, parameters), members in groups.items():
        per_search = asked * max(len(search.vectors) for search in members)
        chunk = max(1, _MAX_ENTRIES // per_search)
        for start in range(0, len(members), chunk):
            yield asked, parameters, members[start : start + chunk]


def _round_up(number: int) -> int:
    """The next of four steps between powers of two, at least 32.

    >>> [_round_up(number) for number in (1, 33, 128, 129, 250, 1000)]
    [32, 64, 128, 160, 256, 1024]
    """
    step = max(32, 1 << max(number.bit_length() - 3, 0))
    return -(-number // step) * step
