"""A release that TFX pushed, served by the usual environment: the same vectors, the same lists.

`make tfx-test` names the folder of the run (RECALL_TFX_RUN), which `pipeline_test.py` has left.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pipelines.api.local_server import LocalServer
from serving.api.recall_request import RecallRequest

FOLDER = os.environ.get("RECALL_TFX_RUN")
pytestmark = pytest.mark.skipif(
    not FOLDER or not (Path(FOLDER) / "served.json").exists(),
    reason="`make tfx-test` runs it on the release of a TFX pipeline",
)
K = 10


@pytest.fixture(scope="module")
def client():
    flags = {"grpc_port": 0, "http_port": 0}
    with LocalServer(Path(FOLDER) / "serving", flags) as server, server.client() as client:
        yield client


@pytest.fixture(scope="module")
def asked():
    """Histories and catalogue, and the vectors that the TFX environment computed."""
    return json.loads((Path(FOLDER) / "served.json").read_text())


@pytest.fixture(scope="module")
def vectors():
    with np.load(Path(FOLDER) / "vectors.npz") as stored:
        return dict(stored)


def test_user_vectors_are_the_same(client, asked, vectors):
    found = client.user_vectors(asked["histories"])
    np.testing.assert_allclose(found.user_vectors, vectors["user_vectors"], rtol=0, atol=1e-6)


def test_lists_are_those_of_the_vectors(client, asked, vectors):
    """Largest inner product with any interest, without the items of the history."""
    scores = np.einsum("ukd,id->uki", vectors["user_vectors"], vectors["item_vectors"]).max(1)
    place = {item_id: number for number, item_id in enumerate(asked["item_ids"])}
    for row, history in zip(scores, asked["histories"], strict=True):
        row[[place[item_id] for item_id in history]] = -np.inf
        answer = client.ask(RecallRequest(history=tuple(history), k=K, exact=True))
        rows = [place[item_id] for item_id in answer.item_ids]
        assert len(set(rows)) == K
        np.testing.assert_allclose(row[rows], np.sort(row)[::-1][:K], rtol=0, atol=1e-5)
