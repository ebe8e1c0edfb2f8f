"""Vectors of a model, and the share of clicks that each interest wins."""

import numpy as np
import pytest

from pipelines.evaluation import vectors
from recall.config import RecallConfig
from recall.models.dssrec import DSSRec
from recall.ragged import Ragged
from recall.vocabulary import ItemVocabulary

NUM_ITEMS = 20


@pytest.mark.parametrize("at_once", [7, NUM_ITEMS - 1, NUM_ITEMS])
def test_item_vectors_do_not_depend_on_how_many_are_computed_at_once(at_once, monkeypatch):
    model = DSSRec(RecallConfig(), ItemVocabulary([f"i{number}" for number in range(NUM_ITEMS)]))
    monkeypatch.setattr(vectors, "_ITEMS_AT_ONCE", at_once)
    computed = vectors.compute_item_vectors(model, NUM_ITEMS)
    together = model.item_tower(np.arange(2, NUM_ITEMS + 2))
    np.testing.assert_allclose(computed, together, rtol=1e-6)
    assert computed.dtype == np.float32


def test_interest_usage_is_the_share_of_clicks_won():
    # Item 0 lies along the first axis, item 1 along the second. The interests of
    # every user are the two axes, but those of user 2 are swapped.
    axes = np.eye(2)
    user_vectors = np.stack([axes, axes, axes[::-1], axes])
    # Users 0 and 1 click item 0 (then 1), user 2 item 0, user 3 an unknown item.
    positives = Ragged.from_rows([[2, 3], [2], [2], [1]])
    usage = vectors.measure_interest_usage(user_vectors, axes, positives)
    np.testing.assert_allclose(usage, [2 / 3, 1 / 3])


@pytest.mark.parametrize("counts", [range(NUM_ITEMS), [0] * NUM_ITEMS])
def test_prototype_shares_are_those_of_the_clicks(counts, monkeypatch):
    vocabulary = ItemVocabulary([f"i{number}" for number in range(NUM_ITEMS)], counts=counts)
    model = DSSRec(RecallConfig().override(["model.extractor=routing", "model.dim=8"]), vocabulary)
    model(np.array([[2]]))
    monkeypatch.setattr(vectors, "_ITEMS_AT_ONCE", 7)

    shares = vectors.measure_prototype_shares(model)

    routes, _ = model.user_tower.route(np.arange(2, NUM_ITEMS + 2))
    weights = np.array(counts) if any(counts) else np.ones(NUM_ITEMS)
    np.testing.assert_allclose(shares, weights @ routes.numpy() / weights.sum(), rtol=1e-5)
    assert shares.shape == (16,)
