"""Every dimension of a request at its limit, and one beyond."""

import re

import numpy as np
import pytest

from recall.errors import InputError
from serving.api.recall_limits import RecallLimits, check_requests
from serving.api.recall_request import RecallRequest
from serving.retrieval.service import RecallService
from tests.serving.recall_reference import Shop

LIMITS = RecallLimits(
    max_k=9,
    max_history_length=2,
    max_exclude=3,
    max_deny=4,
    max_allow=5,
    max_similar_to=6,
    max_categories=7,
    max_interests=8,
    max_vector_value=3.0,
    max_interest_weight=4.0,
    max_diversity_weight=2.0,
    max_leaves_to_search=10,
    max_reorder=11,
    max_metadata_items=12,
    max_batch_size=3,
    max_queries=9,
    max_text_length=4,
)


@pytest.fixture(scope="module")
def service():
    shop = Shop(50)
    return RecallService(shop, shop.catalogue(), limits=LIMITS)


def _ids(number):
    return tuple(f"n{row}" for row in range(number))


def _vectors(number):
    return np.ones((number, 4), np.float32)


AT_AND_BEYOND = [
    (lambda n: {"k": n}, 9, "`k` must be in [1, 9], received 10."),
    (lambda n: {"history": _ids(n)}, 2, "length of `history` must be at most 2, received 3."),
    (lambda n: {"exclude": _ids(n)}, 3, "length of `exclude` must be at most 3, received 4."),
    (
        lambda n: {"history": ("n1",), "deny": _ids(n)},
        4,
        "length of `deny` must be at most 4, received 5.",
    ),
    (
        lambda n: {"similar_to": ("n1",), "deny": _ids(n)},
        4,
        "length of `deny` must be at most 4, received 5.",
    ),
    (
        lambda n: {"user_vectors": _vectors(1), "deny": _ids(n)},
        4 + 2,
        "length of `deny` must be at most 6, received 7.",
    ),
    (lambda n: {"allow": _ids(n)}, 5, "length of `allow` must be at most 5, received 6."),
    (lambda n: {"similar_to": _ids(n)}, 6, "length of `similar_to` must be at most 6, received 7."),
    (lambda n: {"categories": _ids(n)}, 7, "length of `categories` must be at most 7, received 8."),
    (
        lambda n: {"exclude_categories": _ids(n)},
        7,
        "length of `exclude_categories` must be at most 7, received 8.",
    ),
    (
        lambda n: {"user_vectors": _vectors(n)},
        8,
        "number of `user_vectors` must be at most 8, received 9.",
    ),
    (
        lambda n: {"interest_weights": (1.0,) * n, "user_vectors": _vectors(min(n, 8))},
        8,
        "length of `interest_weights` must be at most 8, received 9.",
    ),
    (lambda n: {"user_vectors": _vectors(1) * -n}, 3, "holds a value that is not in [-3, 3]."),
    (
        lambda n: {"user_vectors": _vectors(1), "interest_weights": (n,)},
        4,
        "`interest_weights` must be in [0, 4], received [5].",
    ),
    (lambda n: {"diversity_weight": n}, 2, "`diversity_weight` must be in [0, 2], received 3."),
    (lambda n: {"leaves_to_search": n}, 10, "`leaves_to_search` must be in [1, 10], received 11."),
    (lambda n: {"reorder": n}, 11, "`reorder` must be in [1, 11], received 12."),
    (lambda n: {"max_per_category": n}, 9, "`max_per_category` must be in [1, 9], received 10."),
    (lambda n: {"history": ("x" * n,)}, 4, "length of an item id must be at most 4, received 5."),
    (lambda n: {"allow": ("x" * n,)}, 4, "length of an item id must be at most 4, received 5."),
    (
        lambda n: {"categories": ("x" * n,)},
        4,
        "length of a category must be at most 4, received 5.",
    ),
]


@pytest.mark.parametrize(("fields", "limit", "text"), AT_AND_BEYOND)
def test_at_a_limit_and_one_beyond(service, fields, limit, text):
    (response,) = service.recall([RecallRequest(**{"k": 1, **fields(limit)})])
    assert response.coverage == 1.0
    with pytest.raises(InputError, match=re.escape(text)):
        service.recall([RecallRequest(**{"k": 1, **fields(limit + 1)})])


def test_requests_in_a_batch(service):
    assert len(service.recall([RecallRequest(("n1",), k=1)] * 3)) == 3
    with pytest.raises(InputError, match="requests in a batch must be at most 3, received 4"):
        service.recall([RecallRequest(("n1",), k=1)] * 4)


def test_items_with_metadata_in_a_batch(service):
    asking = RecallRequest(("n1",), k=6, with_metadata=True)
    assert len(service.recall([asking, asking, RecallRequest(("n1",), k=9)])) == 3
    one_more = RecallRequest(("n1",), k=1, with_metadata=True)
    with pytest.raises(InputError, match=r"`with_metadata` in a batch must be at most 12, .* 13"):
        service.recall([asking, asking, one_more])


def test_interests_in_a_batch(service):
    """Users of 3 interests each, and items like given ones."""
    users = [RecallRequest(("n1",), k=1)] * 2
    assert len(service.recall([*users, RecallRequest(similar_to=_ids(3), k=1)])) == 3
    with pytest.raises(InputError, match="interests in a batch must be at most 9, received 10"):
        service.recall([*users, RecallRequest(similar_to=_ids(4), k=1)])


def test_items_whose_vectors_are_wanted(service):
    assert service.item_vectors(_ids(6)).is_known.all()
    with pytest.raises(InputError, match="number of item ids must be at most 6, received 7"):
        service.item_vectors(_ids(7))
    with pytest.raises(InputError, match="length of an item id must be at most 4, received 5"):
        service.item_vectors(["n" * 5])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"k": 0}, "`k` must be in [1, 1000], received 0"),
        ({"k": -1}, "received -1"),
        ({"max_per_category": 0}, "`max_per_category` must be in [1, 1000], received 0"),
        ({"leaves_to_search": -2}, "`leaves_to_search` must be in [1, 100000], received -2"),
        ({"reorder": 0}, "`reorder` must be in"),
        ({"history": ("a",), "similar_to": ("a",)}, "Give `history` or `similar_to`, not both"),
        ({"history": ("a",), "user_vectors": _vectors(1)}, "Give `history` or `user_vectors`"),
        ({"similar_to": ("a",), "user_vectors": _vectors(1)}, "`similar_to` or `user_vectors`"),
        ({"user_vectors": np.ones(4, np.float32)}, "must be float32 [num_interests, dim]"),
        ({"user_vectors": np.ones((0, 4), np.float32)}, "received float32 [0, 4]"),
        ({"user_vectors": np.ones((1, 4))}, "received float64 [1, 4]"),
        ({"user_vectors": np.full((1, 4), np.nan, np.float32)}, "not in [-1e+06, 1e+06]"),
        ({"interest_weights": (1.0, -0.5)}, "must be in [0, 1e+06], received [1.0, -0.5]"),
        ({"interest_weights": (1.0, float("nan"))}, "must be in [0, 1e+06]"),
        ({"interest_weights": (1.0, float("inf"))}, "must be in [0, 1e+06]"),
        ({"interest_weights": (0.0, 0.0)}, "One of `interest_weights` must be larger than 0"),
        ({"interest_weights": (1e-320, 0.0)}, "One of `interest_weights` must be larger than 0"),
        (
            {"merge": "best"},
            "`merge` must be one of max_score, quota, diversity, new_categories, received 'best'",
        ),
        ({"diversity_weight": -0.1}, "`diversity_weight` must be in [0, 100], received -0.1"),
        ({"diversity_weight": float("nan")}, "`diversity_weight` must be in"),
        ({"merge": "diversity", "max_per_category": 2}, "cannot be combined with `merge`"),
        ({"merge": "new_categories", "max_per_category": 2}, "`merge` = new_categories"),
    ],
)
def test_values_that_make_no_sense(fields, text):
    with pytest.raises(InputError, match=re.escape(text)):
        check_requests([RecallRequest(**fields)], RecallLimits())
