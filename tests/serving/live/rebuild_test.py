"""A base that is rebuilt out of live items finds what the release promised, or is exact."""

import numpy as np
import pytest

from recall.config import IndexConfig
from recall.vocabulary import ItemVocabulary
from serving.index import bundle, index_tuning
from serving.index.exact_index import ExactIndex, recall_against_exact
from serving.index.scann_index import ScannIndex, build_index
from serving.live import rebuild
from serving.live.catalogue import LiveCatalogue, PlacedChanges
from serving.live.delta import DeltaItem

NUM_ITEMS, DIM = 2000, 16


@pytest.fixture
def catalogue(tmp_path):
    """A release of inner products with ScaNN."""
    vectors = np.random.default_rng(0).standard_normal((NUM_ITEMS, DIM)).astype(np.float32)
    config = IndexConfig(kind="scann", reorder=300, leaves_to_search_fraction=0.4)
    index = build_index(vectors, config, "inner_product")
    vocabulary = ItemVocabulary([f"i{n}" for n in range(NUM_ITEMS)], range(NUM_ITEMS, 0, -1))
    values = {"fingerprint": "f", "similarity": "inner_product", "recall@100": 1.0}
    queries = np.random.default_rng(1).standard_normal((64, DIM)).astype(np.float32)
    bundle.write_bundle(tmp_path, vocabulary, vectors, index, values, query_vectors=queries)
    return LiveCatalogue(bundle.open_bundle(tmp_path), version=1)


def add(catalogue, item_id, vector):
    item = DeltaItem(item_id, vector.astype(np.float32), (), "")
    catalogue.apply(PlacedChanges([], [], [item], []))


def found(catalogue):
    """Share of the exact top 100 that the view finds."""
    view = catalogue.view()
    queries = np.random.default_rng(2).standard_normal((100, DIM)).astype(np.float32)
    exact = ExactIndex(view.vectors(view.rows()))
    return recall_against_exact(view, exact, queries, 100)


def test_a_vector_a_thousand_times_as_long_spoils_nothing(catalogue):
    before = found(catalogue)
    add(catalogue, b"long", 1000 * np.ones(DIM))
    catalogue.rebuild(rebuild.build_bundle)
    index = catalogue._bundle.index
    assert isinstance(index, ScannIndex)
    assert index.long_rows.tolist() == [NUM_ITEMS]
    assert found(catalogue) >= before - 0.02
    (rows, *_) = catalogue.view().search(np.ones((1, DIM), np.float32), 1).rows
    assert catalogue.view().item_ids(rows).tolist() == [b"long"]


def test_a_poor_index_is_not_served(catalogue, monkeypatch, caplog):
    def find_nothing(index, exact, queries, *, k, wanted):
        return index_tuning.Tuning(exact, 1.0, "exact search: ScaNN finds nothing", {})

    with monkeypatch.context() as patch:
        patch.setattr(index_tuning, "tune", find_nothing)
        add(catalogue, b"new", np.ones(DIM))
        catalogue.rebuild(rebuild.build_bundle)
    assert isinstance(catalogue._bundle.index, ExactIndex)
    assert "Rebuilt without ScaNN, exact search: ScaNN finds nothing" in caplog.text
    assert found(catalogue) == 1.0
    # The next one may be good again.
    add(catalogue, b"newer", np.ones(DIM))
    catalogue.rebuild(rebuild.build_bundle)
    assert isinstance(catalogue._bundle.index, ScannIndex)
