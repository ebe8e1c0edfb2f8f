"""The service without sockets and without TensorFlow: numpy in, answers out."""

import numpy as np
import pytest

from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.bundle import IndexBundle
from serving.bundle_catalogue import BundleCatalogue
from serving.item_index import DEFAULT_KNOBS, ExactIndex, SearchResult
from serving.recall_limits import RecallLimits
from serving.recall_service import RecallService
from serving.recall_types import RecallRequest
from serving.status import Code, ServingError
from serving.user_vectors import UserVectors

_VECTORS = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]], np.float32)
_IDS = ("a", "b", "c", "d", "e")


class LastTwoItems:
    """Interest 0 is the last known item of the history, interest 1 the one before."""

    def __init__(self, fingerprint="f", vectors=_VECTORS, ids=_IDS):
        self.fingerprint = fingerprint
        self.vectors = vectors
        self.ids = ids
        self.calls = []

    def compute(self, histories, *, timeout_s=None):
        self.calls.append((len(histories), timeout_s))
        known = [[self.ids.index(i) for i in h if i in self.ids] for h in histories]
        picked = [(rows[-1], rows[max(-2, -len(rows))]) if rows else (0, 0) for rows in known]
        return UserVectors(
            user_vectors=self.vectors[np.array(picked).reshape(-1, 2)],
            interest_weights=np.full((len(histories), 2), 0.5, np.float32),
            num_known=np.array([len(rows) for rows in known]),
            num_unknown=np.array(
                [sum(i not in self.ids for i in h) for h in histories], dtype=np.int64
            ),
            fingerprint=self.fingerprint,
            model_version=5,
        )


class HalfBlindIndex:
    """An approximate index that never finds rows from 2 on."""

    kind = "scann"
    num_items, dim = _VECTORS.shape

    def __init__(self):
        self.calls = []

    def search(self, query_vectors, k, knobs=DEFAULT_KNOBS):
        self.calls.append((len(query_vectors), k))
        found = ExactIndex(_VECTORS[:2]).search(query_vectors, min(k, 2))
        return SearchResult(found.rows, found.scores)


def _bundle(index=None, fallback=_IDS, vectors=_VECTORS, ids=_IDS):
    vocabulary = ItemVocabulary(ids, counts=range(len(ids), 0, -1))
    return IndexBundle(
        manifest={"fingerprint": "f"},
        item_ids=np.array([i.encode() for i in ids]),
        item_vectors=vectors,
        table=vocabulary.to_table(),
        fallback=tuple(fallback),
        index=index or ExactIndex(vectors),
    )


def _service(source=None, **arguments):
    limits = arguments.pop("limits", None)
    return RecallService(
        source or LastTwoItems(), BundleCatalogue(_bundle(**arguments), version=8), limits=limits
    )


def _ids(response):
    return [item.item_id for item in response.items]


def test_answer_worked_out_by_hand():
    # History d, a: interest 0 is a = (1, 0), interest 1 is d = (0, 1).
    # a: b .8, c .6, e -1; d: c .8, b .6, e 0. Best: b .8 by 0, c .8 by 1, e 0 by 1.
    (response,) = _service().recall([RecallRequest(("d", "zebra", "a"), k=10)])
    assert [(i.item_id, round(i.score, 4), i.interest) for i in response.items] == [
        ("b", 0.8, 0),
        ("c", 0.8, 1),
        ("e", 0.0, 1),
    ]
    assert not response.is_fallback
    assert (response.num_known, response.num_unknown) == (2, 1)
    assert (response.model_version, response.index_version) == (5, 8)


def test_seen_items_come_back_when_asked_for():
    (response,) = _service().recall([RecallRequest(("a",), k=2, include_seen=True)])
    assert _ids(response) == ["a", "b"]


def test_excluded_items_are_left_out_and_k_is_kept():
    (response,) = _service().recall(
        [RecallRequest(("a",), k=2, exclude=("b", "zebra"), include_seen=True)]
    )
    assert _ids(response) == ["a", "c"]


@pytest.mark.parametrize("history", [(), ("zebra", "yak"), ("",)])
def test_new_visitor_gets_popular_items(history):
    (response,) = _service().recall([RecallRequest(history, k=2, exclude=("a",))])
    assert response.is_fallback
    assert [tuple(item) for item in response.items] == [("b", 0.0, -1), ("c", 0.0, -1)]
    assert response.num_known == 0


def test_short_fallback_list_is_filled_with_the_other_items():
    (response,) = _service(fallback=("d", "b")).recall([RecallRequest((), k=4, exclude=("a",))])
    assert _ids(response) == ["d", "b", "c", "e"]


@pytest.mark.parametrize(("k", "length"), [(1, 1), (4, 4), (5, 4), (1000, 4)])
def test_as_many_items_as_there_are(k, length):
    (response,) = _service().recall([RecallRequest(("a",), k=k)])
    assert len(response.items) == length


def test_everything_removed():
    (response, fallback) = _service().recall(
        [RecallRequest(("a",), exclude=_IDS), RecallRequest((), exclude=_IDS)]
    )
    assert response.items == fallback.items == ()


def test_batch_takes_one_tower_call_and_one_search():
    source, index = LastTwoItems(), HalfBlindIndex()
    service = _service(source, index=index)
    source.calls.clear()
    requests = [RecallRequest(("d",), k=1), RecallRequest(()), RecallRequest(("e",), k=2)]
    batch = service.recall(requests)
    assert source.calls == [(3, None)]
    assert index.calls == [(4, 5)]  # 2 users x 2 interests, all items there are
    alone = [service.recall([request])[0] for request in requests]
    assert [(r.items, r.facts()) for r in batch] == [(r.items, r.facts()) for r in alone]


def test_empty_batch():
    assert _service().recall([]) == []


def test_approximate_index_that_misses_items_is_backed_by_exact_search():
    index = HalfBlindIndex()
    approximate, exact = _service(index=index), _service()
    requests = [RecallRequest(("d",), k=3), RecallRequest(("d",), k=2)]
    found = approximate.recall(requests)
    assert _ids(found[0]) == _ids(exact.recall(requests[:1])[0]) == ["c", "b", "a"]
    assert _ids(found[1]) == ["b", "a"]  # all that was asked for was found


def test_random_requests_equal_brute_force():
    random = np.random.default_rng(3)
    vectors = random.normal(size=(60, 2)).astype(np.float32)
    ids = tuple(f"n{row}" for row in range(60))
    service = _service(LastTwoItems(vectors=vectors, ids=ids), vectors=vectors, ids=ids)
    requests = [
        RecallRequest(
            history=tuple(random.choice(ids, size=random.integers(1, 9))),
            k=int(random.integers(1, 70)),
            exclude=tuple(random.choice(ids, size=random.integers(0, 30))),
            include_seen=bool(random.integers(2)),
        )
        for _ in range(40)
    ]
    for request, response in zip(requests, service.recall(requests), strict=True):
        rows = [ids.index(i) for i in request.history]
        queries = vectors[[rows[-1], rows[max(-2, -len(rows))]]]
        best = (queries @ vectors.T).max(axis=0)
        removed = {*request.exclude, *(() if request.include_seen else request.history)}
        expected = [ids[r] for r in np.argsort(-best, kind="stable") if ids[r] not in removed]
        assert _ids(response) == expected[: request.k]


_LIMITS = RecallLimits(
    max_k=3, max_history_length=2, max_exclude=2, max_batch_size=2, max_text_length=4
)


@pytest.mark.parametrize(
    "requests",
    [
        [RecallRequest(("a", "b"), k=3, exclude=("c", "d"))] * 2,
        [RecallRequest(("a" * 4,), k=1)],
    ],
)
def test_at_the_limit(requests):
    assert len(_service(limits=_LIMITS).recall(requests)) == len(requests)


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        ([RecallRequest(k=4)], r"`k` must be in \[1, 3\], received 4"),
        ([RecallRequest(k=0)], r"`k` must be in \[1, 3\], received 0"),
        ([RecallRequest(k=-1)], "received -1"),
        ([RecallRequest(("a",) * 3, 1)], "`history` must be at most 2, received 3"),
        ([RecallRequest(exclude=("a",) * 3, k=1)], "`exclude` must be at most 2, received 3"),
        ([RecallRequest(k=1)] * 3, "requests in a batch must be at most 2, received 3"),
        ([RecallRequest(("a" * 5,), 1)], "item id must be at most 4, received 5"),
    ],
)
def test_beyond_a_limit(requests, text):
    with pytest.raises(InputError, match=text):
        _service(limits=_LIMITS).recall(requests)


def test_tower_of_another_export_is_refused():
    with pytest.raises(InputError, match="fingerprint g"):
        _service(LastTwoItems(fingerprint="g"))


def test_tower_that_changes_its_space_later_is_noticed():
    source = LastTwoItems()
    service = _service(source)
    source.fingerprint = "g"
    with pytest.raises(ServingError, match="embedding space g") as caught:
        service.recall([RecallRequest(("a",))])
    assert caught.value.code == Code.UNAVAILABLE


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite(value):
    vectors = _VECTORS.copy()
    vectors[3, 0] = value
    service = _service(LastTwoItems(vectors=vectors))
    assert _ids(service.recall([RecallRequest(("a",), k=1)])[0]) == ["b"]
    with pytest.raises(ServingError, match="not finite") as caught:
        service.recall([RecallRequest(("a",)), RecallRequest(("d",))])
    assert caught.value.code == Code.INTERNAL


def test_time_left_is_passed_on_and_watched():
    source = LastTwoItems()
    service = _service(source)
    service.recall([RecallRequest(("a",))], timeout_s=60.0)
    assert source.calls[-1] == (1, 60.0)
    with pytest.raises(ServingError) as caught:
        service.recall([RecallRequest(("a",))], timeout_s=-1.0)
    assert caught.value.code == Code.DEADLINE_EXCEEDED
