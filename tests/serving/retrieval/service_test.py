"""The service without sockets and without TensorFlow: numpy in, answers out."""

import numpy as np
import pytest

from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.api.recall_request import RecallRequest
from serving.index.bundle import IndexBundle
from serving.index.bundle_catalogue import BundleCatalogue
from serving.index.exact_index import ExactIndex
from serving.index.item_index import DEFAULT_PARAMETERS, SearchResult
from serving.protocol import call
from serving.protocol.status import Code, ServingError
from serving.retrieval import search as user_search
from serving.retrieval import service as recall_service
from serving.retrieval.service import RecallService
from serving.retrieval.user_vectors import UserVectors

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


class Clock:
    """Time as the service sees it, where it stands in for the module `time`."""

    now_s = 0.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (call, recall_service, user_search):
        monkeypatch.setattr(module, "time", clock)
    return clock


class HalfBlindIndex:
    """An approximate index that never finds rows from `num_seen` on, and takes 0.2 s."""

    kind = "scann"
    num_items, dim = _VECTORS.shape

    def __init__(self, num_seen=2, clock=None):
        self.num_seen, self.clock = num_seen, clock or Clock()
        self.calls, self.parameters = [], []

    def search(self, query_vectors, k, parameters=DEFAULT_PARAMETERS):
        self.calls.append((len(query_vectors), k))
        self.parameters.append(parameters)
        self.clock.now_s += 0.2
        if not self.num_seen:
            nothing = [np.empty(0, np.int64)] * len(query_vectors)
            return SearchResult(nothing, [rows.astype(np.float32) for rows in nothing])
        found = ExactIndex(_VECTORS[: self.num_seen]).search(query_vectors, min(k, self.num_seen))
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
    return RecallService(source or LastTwoItems(), BundleCatalogue(_bundle(**arguments), version=8))


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


def test_tower_of_another_export_is_refused():
    with pytest.raises(InputError, match="fingerprint g"):
        _service(LastTwoItems(fingerprint="g"))


def test_tower_that_changes_its_space_later_is_noticed():
    source = LastTwoItems()
    service = _service(source)
    source.fingerprint = "g"
    text = "Version 5 of the user tower answers from embedding space g, version 8 .* holds f"
    with pytest.raises(ServingError, match=text) as caught:
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
    assert source.calls[-1] == (1, pytest.approx(60.0, abs=1.0))
    with pytest.raises(ServingError) as caught:
        service.recall([RecallRequest(("a",))], timeout_s=-1.0)
    assert caught.value.code == Code.DEADLINE_EXCEEDED


def test_short_first_search_at_the_deadline_is_degraded(clock):
    service = _service(index=HalfBlindIndex(clock=clock))
    (late,) = service.recall([RecallRequest(("d",), k=4)], timeout_s=0.1)
    assert _ids(late) == ["b", "a"]
    assert (late.degraded, late.coverage) == (True, 0.5)
    (full,) = service.recall([RecallRequest(("d",), k=2)], timeout_s=0.1)
    assert _ids(full) == ["b", "a"]
    assert (full.degraded, full.coverage) == (False, 1.0)


def test_users_whose_turn_did_not_come_before_the_deadline(clock):
    # Other parameters are another search; the new visitor needs none.
    service = _service(index=HalfBlindIndex(clock=clock))
    requests = [
        RecallRequest(("d",), k=2),
        RecallRequest(("d",), k=2, leaves_to_search=1),
        RecallRequest((), k=2),
    ]
    first, second, visitor = service.recall(requests, timeout_s=0.1)
    assert (_ids(first), first.degraded, first.coverage) == (["b", "a"], False, 1.0)
    assert (_ids(second), second.degraded, second.coverage) == ([], True, 0.0)
    assert (_ids(visitor), visitor.degraded) == (["a", "b"], False)


def test_no_exact_search_after_the_deadline(clock):
    service = _service(index=HalfBlindIndex(clock=clock))
    requests = [RecallRequest(("d",), k=2), RecallRequest(("d",), k=2, exact=True)]
    indexed, exact = service.recall(requests, timeout_s=0.1)
    assert (_ids(indexed), indexed.degraded) == (["b", "a"], False)
    assert (_ids(exact), exact.degraded, exact.coverage) == ([], True, 0.0)
    assert _ids(service.recall(requests)[1]) == ["c", "b"]


def test_every_request_of_a_batch_has_its_own_deadline(clock):
    # The first search takes 0.2 s and finds two items; b, a are not certain to be best.
    service = _service(index=HalfBlindIndex(clock=clock))
    hurried, patient = service.recall_together([RecallRequest(("d",), k=4)] * 2, [0.1, 60.0])
    assert (_ids(hurried), hurried.degraded, hurried.coverage) == (["b", "a"], True, 0.5)
    assert (_ids(patient), patient.degraded, patient.coverage) == (["c", "b", "a", "e"], False, 1.0)


def test_a_search_whose_turn_comes_too_late_holds_nobody_up(clock):
    index = HalfBlindIndex(clock=clock)
    requests = [RecallRequest(("d",), k=2, reorder=n) for n in (1, 2, 3)]
    responses = _service(index=index).recall_together(requests, [60.0, 0.1, 60.0])
    assert [response.coverage for response in responses] == [1.0, 0.0, 1.0]
    assert len(index.calls) == 2


def test_nothing_found_before_the_deadline_is_an_error(clock):
    service = _service(index=HalfBlindIndex(num_seen=0, clock=clock))
    with pytest.raises(ServingError) as caught:
        service.recall([RecallRequest(("d",), k=2)], timeout_s=0.1)
    assert caught.value.code == Code.DEADLINE_EXCEEDED


def test_parameters_reach_the_index_and_grow_with_the_second_search():
    index = HalfBlindIndex()
    service = _service(index=index)
    service.recall([RecallRequest(("d",), k=3, leaves_to_search=3, reorder=50)])
    assert index.parameters == [(3, 50, 1), (3, 50, 4)]
    index.parameters.clear()
    service.recall([RecallRequest(("d",), k=3, exact=True)])
    assert index.parameters == []


def test_ready_vectors_need_no_tower():
    source = LastTwoItems()
    service = _service(source)
    source.calls.clear()
    vectors = np.array([[0.0, 2.0], [1.0, 0.0]], np.float32)
    (response,) = service.recall([RecallRequest(user_vectors=vectors, k=2, fingerprint="f")])
    # Interest 0: d 2, c 1.6, b 1.2; interest 1: a 1.
    assert [(i.item_id, round(i.score, 4), i.interest) for i in response.items] == [
        ("d", 2.0, 0),
        ("c", 1.6, 0),
    ]
    assert source.calls == []
    assert (response.num_known, response.model_version, response.is_fallback) == (0, 0, False)


def test_ready_vectors_of_another_space():
    vectors = np.ones((1, 2), np.float32)
    with pytest.raises(ServingError, match="space g, version 8 of the index holds f") as caught:
        _service().recall([RecallRequest(user_vectors=vectors, fingerprint="g")])
    assert caught.value.code == Code.FAILED_PRECONDITION
    with pytest.raises(InputError, match="must have 2 columns, received 3"):
        _service().recall([RecallRequest(user_vectors=np.ones((1, 3), np.float32))])


def test_items_like_these():
    request = RecallRequest(similar_to=("zebra", "a", "d"), k=9)
    (response,) = _service().recall([request])
    # a: b .8, c .6, e -1; d: c .8, b .6, e 0. Interests are places in `similar_to`.
    assert [(i.item_id, round(i.score, 4), i.interest) for i in response.items] == [
        ("b", 0.8, 1),
        ("c", 0.8, 2),
        ("e", 0.0, 2),
    ]
    assert (response.num_known, response.num_unknown) == (2, 1)


def test_items_like_unknown_ones_are_popular_ones():
    (response,) = _service().recall([RecallRequest(similar_to=("zebra",), k=2)])
    assert (_ids(response), response.is_fallback) == (["a", "b"], True)
    assert (response.num_known, response.num_unknown) == (0, 1)


def test_weights_scale_scores_and_drop_interests():
    # History d, a: interest 0 is a, interest 1 is d.
    request = RecallRequest(("d", "a"), k=3, interest_weights=(0.0, 0.5))
    (response,) = _service().recall([request])
    assert [(i.item_id, round(i.score, 4), i.interest) for i in response.items] == [
        ("c", 0.4, 1),
        ("b", 0.3, 1),
        ("e", 0.0, 1),
    ]


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0)])
def test_one_weight_per_interest(weights):
    with pytest.raises(InputError, match="each of 2 interests, received"):
        _service().recall([RecallRequest(("a",), interest_weights=weights)])


def test_kinds_of_requests_in_one_batch():
    source = LastTwoItems()
    service = _service(source)
    source.calls.clear()
    requests = [
        RecallRequest(similar_to=("a",), k=1),
        RecallRequest(("a",), k=1),
        RecallRequest(user_vectors=_VECTORS[3:4], k=1),
        RecallRequest((), k=1),
    ]
    assert [_ids(r) for r in service.recall(requests)] == [["b"], ["b"], ["d"], ["a"]]
    assert source.calls == [(2, None)]


def test_one_view_serves_a_whole_call():
    catalogue = BundleCatalogue(_bundle(), version=8)

    class Counting:
        num_views = 0

        def view(self):
            self.num_views += 1
            return catalogue

    counting = Counting()
    service = RecallService(LastTwoItems(), counting)
    counting.num_views = 0
    service.recall([RecallRequest(("a",), k=2), RecallRequest((), k=2)])
    assert counting.num_views == 1
