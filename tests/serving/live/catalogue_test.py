"""Live items against a dictionary: after any changes, every answer is what the dictionary says."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from recall.config import IndexConfig
from recall.vocabulary import ItemVocabulary
from serving.index import bundle
from serving.index.catalogue import NO_ROW
from serving.index.item_index import SearchParameters
from serving.index.scann_index import build_index
from serving.live import rebuild
from serving.live.catalogue import LiveCatalogue
from serving.live.item_content import EmbeddedItems
from serving.live.store import ItemChange
from tests.serving.category_embedder import CategoriesAlone

DIM, NUM_BASE = 4, 24
FINGERPRINT = "f"
BASE_IDS = [f"b{row}" for row in range(NUM_BASE)]
NEW_IDS = [*(f"n{number}" for number in range(6)), "a much longer id than those of the base"]
CATEGORIES = ["even", "odd", "third", "new", "newer"]
CATEGORY_VECTORS = np.random.default_rng(5).standard_normal((4, DIM)).astype(np.float32)
"""Of all categories but the last, which no tower knows."""

QUERIES = np.random.default_rng(6).standard_normal((3, DIM)).astype(np.float32)


def base_vectors():
    return np.random.default_rng(4).standard_normal((NUM_BASE, DIM)).astype(np.float32)


def base_categories(row):
    return ("even", "third")[: 1 + (row % 3 == 0)] if row % 2 == 0 else ("odd",)


def embed(items):
    """The mean of the known categories, as an item tower would say it."""
    vectors = np.zeros((len(items), DIM), np.float32)
    num_known = np.zeros(len(items), int)
    for position, names in enumerate(items):
        known = [CATEGORIES.index(name) for name in names if name != "newer"]
        num_known[position] = len(known)
        if known:
            vectors[position] = CATEGORY_VECTORS[known].mean(axis=0)
    return EmbeddedItems(vectors, num_known, FINGERPRINT)


@pytest.fixture(scope="module", params=["exact", "scann"])
def opened(request, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), request.param)


def make_bundle(folder, kind="exact"):
    items = ItemVocabulary(
        BASE_IDS,
        range(NUM_BASE, 0, -1),
        [base_categories(row) for row in range(NUM_BASE)],
        [f"T{row}" for row in range(NUM_BASE)],
    )
    index = build_index(base_vectors(), IndexConfig(kind=kind), "dot")
    values = {"fingerprint": FINGERPRINT, "similarity": "dot", "recall@100": 1.0}
    bundle.write_bundle(folder, items, base_vectors(), index, values)
    return bundle.open_bundle(folder)


class Model:
    """The catalogue as a dictionary: raw id -> (vector, categories)."""

    def __init__(self):
        self.release = {
            item_id: (vector, base_categories(row))
            for row, (item_id, vector) in enumerate(zip(BASE_IDS, base_vectors(), strict=True))
        }
        self.items = dict(self.release)

    def change(self, change):
        known = self.release.get(change.item_id)
        self.items.pop(change.item_id, None)
        if change.is_deleted:
            return
        categories = change.categories
        if categories is None:
            categories = known[1] if known else ()
        vector = change.vector
        if vector is None and known:
            vector = known[0]
        if vector is None:
            embedded = embed([categories])
            vector = embedded.vectors[0] if embedded.num_known[0] else None
        if vector is not None:
            self.items[change.item_id] = vector, categories

    def best(self, query, k, allowed=None):
        """Raw ids and scores of the best items, best first."""
        ids = [i for i in self.items if allowed is None or i in allowed]
        scores = np.array([self.items[i][0] @ query for i in ids])
        order = np.argsort(-scores)[:k]
        return [ids[p] for p in order], scores[order]


def check_answer(view, model, rows, scores, k, query, allowed=None):
    """Every pair is right and nothing better is missing; near-ties may swap."""
    ids = [i.decode() for i in view.item_ids(rows).tolist()]
    assert len(set(ids)) == len(ids)
    own = [model.items[i][0] @ query for i in ids]
    np.testing.assert_allclose(scores, own, rtol=1e-5, atol=1e-5)
    expected = model.best(query, k, allowed)[1]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def check_view(view, model):
    """Every method of the view against the dictionary."""
    names = sorted(model.items)
    assert view.num_items == len(names)
    rows = view.rows()
    assert (np.diff(rows) > 0).all()
    assert sorted(i.decode() for i in view.item_ids(rows).tolist()) == names
    found = view.rows_of([i.encode() for i in [*BASE_IDS, *NEW_IDS, "never"]])
    for item_id, row in zip([*BASE_IDS, *NEW_IDS, "never"], found.tolist(), strict=True):
        assert (row != NO_ROW) == (item_id in model.items)
        if row != NO_ROW:
            np.testing.assert_array_equal(view.vectors(np.array([row]))[0], model.items[item_id][0])
    popular = [i.decode() for i in view.item_ids(view.fallback_rows).tolist()]
    assert popular == [i for i in BASE_IDS if i in model.items]
    check_categories(view, model)
    check_searches(view, model)


def check_categories(view, model):
    codes = {name: view.category_codes([name]) for name in CATEGORIES}
    for name in CATEGORIES:
        ids = view.item_ids(view.rows_in(codes[name])).tolist()
        expected = sorted(i.encode() for i, (_, own) in model.items.items() if name in own)
        assert sorted(ids) == expected
    rows = view.rows()[::-1]
    pairs = view.categories_of(rows)
    assert (np.diff(pairs.positions) >= 0).all()
    name_of = {int(code[0]): name for name, code in codes.items() if len(code)}
    for position, item_id in enumerate(view.item_ids(rows).tolist()):
        own = {name_of[code] for code in pairs.codes[pairs.positions == position].tolist()}
        assert own == set(model.items[item_id.decode()][1])
    ids = [item_id.decode() for item_id in view.item_ids(rows).tolist()]
    titles = tuple(f"T{i[1:]}" if i in BASE_IDS else "" for i in ids)
    assert view.texts(rows) == (titles, tuple(model.items[i][1] for i in ids))
    assert view.texts(rows[:0]) == ((), ())


def check_searches(view, model):
    allowed = {i for number, i in enumerate(sorted(model.items)) if number % 2}
    rows = np.sort(view.rows_of([i.encode() for i in allowed]))
    for k in (1, 5, 100):
        for found, only in (
            (view.search(QUERIES, k, SearchParameters()), None),
            (view.exact_search(QUERIES, k), None),
            (view.exact_search(QUERIES, k, rows), allowed),
        ):
            for query, of_query, scores in zip(QUERIES, found.rows, found.scores, strict=True):
                check_answer(view, model, of_query, scores, k, query, only)


item_ids = st.sampled_from([*BASE_IDS, *NEW_IDS])
some_categories = st.none() | st.lists(st.sampled_from(CATEGORIES), unique=True).map(tuple)
vectors = st.none() | st.integers(0, 9).map(
    lambda seed: np.random.default_rng(seed + 100).standard_normal(DIM).astype(np.float32)
)
upserts = st.builds(
    lambda item_id, categories, vector: ItemChange(
        item_id,
        categories=categories,
        vector=vector,
        fingerprint="" if vector is None else FINGERPRINT,
    ),
    item_ids,
    some_categories,
    vectors,
)
changes = upserts | item_ids.map(lambda item_id: ItemChange(item_id, is_deleted=True))


class LiveCatalogueMachine(RuleBasedStateMachine):
    """Random changes, rebuilds and changes during rebuilds."""

    opened = None

    @initialize()
    def start(self):
        self.catalogue = LiveCatalogue(self.opened, version=7, embed=CategoriesAlone(embed))
        self.model = Model()
        self.kept = []

    def change(self, batch):
        distinct = list({change.item_id: change for change in batch}.values())
        self.catalogue.apply(self.catalogue.place(distinct))
        for change in distinct:
            self.model.change(change)

    @rule(batch=st.lists(changes, min_size=1, max_size=8))
    def change_items(self, batch):
        self.change(batch)

    @rule(batch=st.lists(changes, max_size=4))
    def rebuild_the_base(self, batch):
        if not self.model.items:
            return

        def build(base, view):
            made = rebuild.build_bundle(base, view)
            self.change(batch)  # Meanwhile, changes go on.
            return made

        self.catalogue.rebuild(build)
        assert self.catalogue.view().base.num_items >= 1

    @rule()
    def keep_a_view(self):
        model = Model()
        model.items = dict(self.model.items)
        self.kept = [*self.kept[-2:], (self.catalogue.view(), model)]

    @invariant()
    def answers_are_those_of_the_dictionary(self):
        check_view(self.catalogue.view(), self.model)
        for view, model in self.kept:
            check_view(view, model)


@pytest.mark.parametrize("kind", ["exact", "scann"])
def test_any_changes_in_any_order(tmp_path, kind):
    LiveCatalogueMachine.opened = make_bundle(tmp_path, kind)
    LiveCatalogueMachine.TestCase.settings = settings(
        max_examples=40 if kind == "exact" else 10,
        stateful_step_count=12,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    LiveCatalogueMachine.TestCase().runTest()
