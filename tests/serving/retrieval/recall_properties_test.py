"""Whatever is asked for, the answer is that of brute force (`recall_reference`)."""

import dataclasses

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from serving.api.recall_request import POOLED_MERGES, RecallRequest
from serving.index.scann_index import ScannIndex, ScannParameters
from serving.retrieval import search
from serving.retrieval.service import RecallService
from tests.serving.recall_reference import BRANDS, CATEGORIES, EARLY, LATE, ROOT, Shop


def service_of(shop, index=None):
    return RecallService(shop, shop.catalogue(index), clock=lambda: shop.now_s)


SHOPS = {7: Shop(7, now_s=LATE), 600: Shop(600, root_share=0.97, now_s=EARLY)}
SERVICES = {size: service_of(shop) for size, shop in SHOPS.items()}

_BRAND = st.sampled_from([*BRANDS, "unheard"])
_PRICE = st.integers(0, 19)
_RANGE = st.one_of(
    st.builds(lambda low, more: {"min": low, "max": low + more}, _PRICE, _PRICE),
    st.builds(lambda low: {"min": low}, _PRICE),
    st.builds(lambda high: {"max": high}, _PRICE),
)
WHERE = st.fixed_dictionaries(
    {},
    optional={
        "brand": _BRAND | st.lists(_BRAND, min_size=1, max_size=2),
        "price": _PRICE | st.lists(_PRICE, min_size=1, max_size=3) | _RANGE,
        "categories": st.sampled_from(CATEGORIES),
    },
)
BOOST = st.fixed_dictionaries(
    {"where": WHERE, "add": st.sampled_from([-2.0, 0.0, 0.5, 4.0])},
    optional={"multiply": st.sampled_from([0.5, 2.0])},
)


@st.composite
def requests(draw, num_items):
    """A request of any kind that no limit refuses."""
    ids = st.integers(0, int(num_items * 1.1)).map("n{}".format)
    lists = st.lists(ids, max_size=6)
    names = st.lists(st.sampled_from([*CATEGORIES, ROOT, "unheard"]), max_size=2)
    kind = draw(st.sampled_from(["history", "user_vectors", "similar_to"]))
    subject = draw(st.lists(ids, max_size=5))
    if kind == "user_vectors":
        size = draw(st.integers(1, 4))
        numbers = st.lists(st.integers(-3, 3), min_size=4 * size, max_size=4 * size)
        subject = np.array(draw(numbers), np.float32).reshape(size, 4)
    num_interests = 3 if kind == "history" or not len(subject) else len(subject)
    weight = st.sampled_from([0.0, 0.5, 1.0, 2.0])
    weights = st.lists(weight, min_size=num_interests, max_size=num_interests).filter(any)
    merge = draw(st.sampled_from(["max_score", "quota", *POOLED_MERGES]))
    limits = st.none() | st.integers(1, 30)
    allow = st.lists(ids, max_size=40) | st.just([f"n{row}" for row in range(0, num_items, 3)])
    return RecallRequest(
        **{kind: subject if kind == "user_vectors" else tuple(subject)},
        k=draw(st.integers(1, 30) | st.just(1000))
        if merge not in POOLED_MERGES
        else draw(st.integers(1, 12)),
        exclude=tuple(draw(lists)),
        deny=tuple(draw(lists)),
        allow=tuple(draw(st.just([]) | allow)),
        include_seen=draw(st.booleans()),
        categories=tuple(draw(names)),
        exclude_categories=tuple(draw(names)),
        max_per_category=draw(limits) if merge not in POOLED_MERGES else None,
        interest_weights=tuple(draw(st.just([]) | weights)),
        merge=merge,
        diversity_weight=draw(st.sampled_from([0.0, 0.25, 1.0])),
        exact=draw(st.booleans()),
        where=draw(st.none() | WHERE),
        boosts=tuple(draw(st.just([]) | st.lists(BOOST, max_size=3))),
    )


def found(response):
    return [tuple(item) for item in response.items]


@pytest.mark.parametrize("size", SHOPS)
def test_answers_are_those_of_brute_force(size):
    @settings(max_examples=250, deadline=None)
    @given(st.lists(requests(size), min_size=1, max_size=3))
    def check(batch):
        responses = SERVICES[size].recall(batch)
        for request, response in zip(batch, responses, strict=True):
            assert found(response) == SHOPS[size].expected(request)
            assert (response.degraded, response.coverage) == (False, 1.0)

    check()


def test_limits_per_category_with_many_exact_searches(monkeypatch):
    """The loop over ever fewer rows, which only large catalogues come to."""
    monkeypatch.setattr(search, "_MIN_EXACT_FETCH", 1)
    monkeypatch.setattr(search, "_CAPPED_OVERFETCH", 1)
    shop = SHOPS[600]
    service = SERVICES[600]

    @settings(max_examples=150, deadline=None)
    @given(requests(600).filter(lambda r: r.merge not in POOLED_MERGES), st.integers(1, 5))
    def check(request, limit):
        request = dataclasses.replace(request, exact=True, max_per_category=limit)
        assert found(service.recall([request])[0]) == shop.expected(request)

    check()


@pytest.mark.parametrize(("leaves", "reorder"), [(10, 600), (1, 40)])
def test_approximate_answers_are_full_allowed_and_truly_scored(leaves, reorder):
    """With all leaves and all items reordered they are even those of brute force."""
    shop = SHOPS[600]
    index = ScannIndex.build(shop.vectors, ScannParameters(10, leaves, reorder, spherical=False))
    service = service_of(shop, index)

    @settings(max_examples=150, deadline=None)
    @given(requests(600))
    def check(request):
        (response,) = service.recall([request])
        expected = shop.expected(request)
        if index.is_exhaustive:
            assert found(response) == expected
            return
        if request.max_per_category is None:
            assert len(response.items) == len(expected)
        queries, numbers, _ = shop._queries(request)
        assert len({item.item_id for item in response.items}) == len(response.items)
        for item in response.items:
            row = shop.row_of(item.item_id)
            assert shop.is_allowed(row, request)
            if not response.is_fallback:
                query = queries[numbers.index(item.interest)]
                scores = shop.boosted((query @ shop.vectors.T)[None], request)
                assert item.score == float(scores[0, row])

    check()
