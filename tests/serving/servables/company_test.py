"""Scores of one request, alone and in a batch: how far the last digits differ.

Products of matrices round by the number and the place of the rows, so the user tower
and exact search do not give equal bytes. docs/serving.md has the bound that is held here.
"""

import numpy as np
import pytest

from serving.api.recall_request import RecallRequest
from serving.index.bundle import open_bundle
from serving.index.bundle_catalogue import BundleCatalogue
from serving.retrieval.service import RecallService
from serving.servables.towers import SavedModelUserVectors
from tests.serving.category_release import NUM_ITEMS, write_release

MAX_DIFFERENCE = 1e-6
"""Of scores of unit vectors; three times what was measured."""

BATCH = 16


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("company")
    write_release(folder, 3)
    bundle = open_bundle(folder / "index" / "3")
    return RecallService(
        SavedModelUserVectors(folder / "user_tower" / "3", version=3),
        BundleCatalogue(bundle, version=3),
    )


def test_items_are_equal_and_scores_within_the_bound(service):
    random = np.random.default_rng(1)
    requests = [
        RecallRequest(tuple(f"i{row}" for row in random.integers(NUM_ITEMS, size=size)), k=10)
        for size in random.integers(1, 6, size=4 * BATCH)
    ]
    alone = [service.recall([request])[0] for request in requests]
    for start in range(0, len(requests), BATCH):
        together = service.recall_together(requests[start : start + BATCH], [np.inf] * BATCH)
        for one, other in zip(alone[start : start + BATCH], together, strict=True):
            assert one.item_ids.tolist() == other.item_ids.tolist()
            assert one.interests.tolist() == other.interests.tolist()
            assert np.abs(one.scores - other.scores).max() <= MAX_DIFFERENCE


def test_the_same_request_in_the_same_company_has_equal_bytes(service):
    requests = [RecallRequest((f"i{row}", f"i{row + 1}"), k=10) for row in range(BATCH)]
    first, second = (service.recall(requests) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one.scores.tobytes() == other.scores.tobytes()
