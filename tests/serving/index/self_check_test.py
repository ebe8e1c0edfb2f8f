"""A bundle that no longer finds what it found when it was built is refused."""

import numpy as np
import pytest

from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.index import bundle, self_check
from serving.index.exact_index import ExactIndex
from serving.index.scann_index import ScannIndex, ScannParameters
from serving.release import manifest as manifests

NUM_ITEMS, DIM = 2000, 8
VALUES = {"fingerprint": "f", "similarity": "cosine", "recall@100": 1.0}


def unit_vectors(seed, num_rows=NUM_ITEMS):
    vectors = np.random.default_rng(seed).standard_normal((num_rows, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_bundle(folder, vectors, index=None, **options):
    folder.mkdir()
    items = ItemVocabulary([f"i{row}" for row in range(len(vectors))])
    index = index or ScannIndex.build(vectors, ScannParameters(40, 8, 200, spherical=True))
    return bundle.write_bundle(folder, items, vectors, index, VALUES, **options)


def reseal(folder, **changes):
    manifest = manifests.read(folder)
    (folder / "manifest.json").unlink()
    values = {k: v for k, v in manifest.items() if k not in ("format", "files", "checksum")}
    manifests.seal(folder, {**values, **changes})


def test_the_stored_rows_are_those_of_an_exact_search(tmp_path):
    vectors, users = unit_vectors(0), unit_vectors(1, 100)
    manifest = make_bundle(tmp_path / "b", vectors, query_vectors=users)
    queries = np.load(tmp_path / "b" / self_check.QUERIES_NAME)
    np.testing.assert_array_equal(queries, users[:64])
    expected = np.argsort(-(users[:64] @ vectors.T), axis=1, kind="stable")[:, :100]
    rows = np.load(tmp_path / "b" / self_check.ROWS_NAME)
    assert [set(row) for row in rows] == [set(row) for row in expected]
    assert manifest["self_check"]["k"] == 100
    assert 0.5 < manifest["self_check"]["recall"] <= 1


def test_without_users_items_are_asked_for(tmp_path):
    vectors = unit_vectors(0)
    make_bundle(tmp_path / "b", vectors)
    queries = np.load(tmp_path / "b" / self_check.QUERIES_NAME)
    # 2000 / 64 = 31.25, so every 32nd item: rows 0, 32, ... 1984.
    np.testing.assert_array_equal(queries, vectors[::32])


def test_a_small_catalogue_asks_for_all_its_items(tmp_path):
    vectors = unit_vectors(0, 30)
    manifest = make_bundle(tmp_path / "b", vectors, ExactIndex(vectors))
    assert manifest["self_check"]["k"] == 30
    bundle.open_bundle(tmp_path / "b")


def test_a_searcher_over_other_vectors_is_refused(tmp_path):
    """Sealed again, so that every checksum is right."""
    make_bundle(tmp_path / "b", unit_vectors(0))
    make_bundle(tmp_path / "other", unit_vectors(7))
    for path in (tmp_path / "other" / "scann").iterdir():
        (tmp_path / "b" / "scann" / path.name).write_bytes(path.read_bytes())
    reseal(tmp_path / "b")
    with pytest.raises(InputError, match=r"finds 0\.\d+ of the items it must find, \d\.\d+ when"):
        bundle.open_bundle(tmp_path / "b")


def test_within_the_margin_it_opens(tmp_path):
    manifest = make_bundle(tmp_path / "b", unit_vectors(0))
    recall = manifest["self_check"]["recall"]
    reseal(tmp_path / "b", self_check={"k": 100, "recall": recall + self_check.MARGIN - 1e-6})
    bundle.open_bundle(tmp_path / "b")
    reseal(tmp_path / "b", self_check={"k": 100, "recall": recall + self_check.MARGIN + 1e-6})
    with pytest.raises(InputError, match="when it was built"):
        bundle.open_bundle(tmp_path / "b")


@pytest.mark.parametrize("promised", [None, {"k": 7, "recall": 1.0}])
def test_a_self_check_that_is_not_whole(tmp_path, promised):
    make_bundle(tmp_path / "b", unit_vectors(0))
    reseal(tmp_path / "b", self_check=promised)
    with pytest.raises(InputError, match="is not whole"):
        bundle.open_bundle(tmp_path / "b")
