"""Rows much longer than the others: found by hand-made lengths, and no harm to any search."""

import numpy as np
import pytest

from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.index import bundle
from serving.index.exact_index import ExactIndex, recall_against_exact
from serving.index.item_index import SearchParameters
from serving.index.long_rows import LongRows, find_long_rows, lengths_of
from serving.index.scann_index import ScannIndex, ScannParameters
from serving.release import manifest


def draw(num_rows, dim=16, seed=0):
    return np.random.default_rng(seed).standard_normal((num_rows, dim)).astype(np.float32)


def with_lengths(lengths, dim=16):
    """Rows of random directions with these lengths."""
    vectors = draw(len(lengths), dim)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors * np.asarray(lengths, np.float32)[:, None]


def test_lengths():
    np.testing.assert_allclose(lengths_of(np.array([[3, 4], [0, 0]], np.float32)), [5, 0])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({7: 1.9}, []),  # Less than twice the median.
        ({7: 2.1, 150: 1000}, [7, 150]),
        ({7: 5, 150: 5, 199: 3}, [7, 150]),  # At most a hundredth: 2 of 200.
        ({7: 5, 8: 6, 9: 7}, [8, 9]),
    ],
)
def test_which_rows_are_long(changed, expected):
    lengths = np.ones(200)
    lengths[list(changed)] = list(changed.values())
    assert find_long_rows(with_lengths(lengths)).tolist() == expected


def test_too_few_rows_to_tell():
    assert find_long_rows(with_lengths([1.0] * 98 + [50.0])).tolist() == []


def test_merge_by_hand():
    vectors = np.array([[1, 0], [9, 0], [0, 1], [0, 9]], np.float32)
    long_rows = LongRows.of(vectors, np.array([1, 3]))
    assert long_rows.others.tolist() == [0, 2]
    queries = np.array([[1, 0], [1, 1]], np.float32)
    # Rows of the index: 0 is row 0, 1 is row 2.
    rows, scores = long_rows.merge(
        queries,
        3,
        [np.array([0, 1]), np.array([1])],
        [np.array([1, 0], np.float32), np.array([1], np.float32)],
    )
    assert [r.tolist() for r in rows] == [[1, 0, 2], [1, 3, 2]]
    assert [s.tolist() for s in scores] == [[9, 1, 0], [9, 9, 1]]


class TestScann:
    PARAMETERS = ScannParameters(40, 8, 300, spherical=False)

    def lengthen(self, num_long, times):
        vectors = draw(2000)
        rows = np.random.default_rng(1).permutation(2000)[:num_long]
        vectors[rows] *= times
        return vectors, np.sort(rows)

    @pytest.mark.parametrize("num_long", [1, 15])
    def test_the_others_are_found_as_if_they_were_not_there(self, num_long):
        plain, (vectors, rows) = draw(2000), self.lengthen(num_long, 1000)
        queries = draw(200, seed=2)

        def recall(table):
            index = ScannIndex.build(table, self.PARAMETERS)
            return index, recall_against_exact(index, ExactIndex(table), queries, 100)

        _, before = recall(plain)
        index, after = recall(vectors)
        assert index.long_rows.tolist() == rows.tolist()
        # Held in the tree, 15 such rows leave .6 of it.
        assert after >= before - 0.02

    def test_everything_searched_is_exact_search(self):
        vectors, _ = self.lengthen(15, 50)
        index = ScannIndex.build(vectors, self.PARAMETERS)
        queries, everything = draw(20, seed=2), SearchParameters(leaves_to_search=40, reorder=2000)
        for k in (1, 10, 1990, 2000):
            wanted = ExactIndex(vectors).search(queries, k)
            found = index.search(queries, k, everything)
            for rows, scores, right in zip(found.rows, found.scores, wanted.rows, strict=True):
                assert np.isin(right[:10], rows).all()
                assert len(rows) == len(np.unique(rows)) == k
                assert (np.diff(scores) <= 0).all()

    def test_unit_vectors_have_none(self):
        vectors, _ = self.lengthen(3, 50)
        index = ScannIndex.build(vectors, self.PARAMETERS._replace(spherical=True))
        assert index.long_rows.tolist() == []

    @pytest.fixture
    def sealed(self, tmp_path):
        vectors, rows = self.lengthen(4, 50)
        vocabulary = ItemVocabulary([f"i{n}" for n in range(2000)], range(2000, 0, -1))
        values = {"fingerprint": "f", "similarity": "inner_product", "recall@100": 1.0}
        index = ScannIndex.build(vectors, self.PARAMETERS)
        bundle.write_bundle(tmp_path, vocabulary, vectors, index, values)
        return tmp_path, vectors, rows

    def test_a_bundle_keeps_them(self, sealed):
        folder, vectors, rows = sealed
        opened = bundle.open_bundle(folder)
        assert opened.index.long_rows.tolist() == rows.tolist()
        found = opened.index.search(vectors[rows], 1)
        assert [r.tolist() for r in found.rows] == [[row] for row in rows]
        assert [s[0] for s in found.scores] == pytest.approx((vectors[rows] ** 2).sum(axis=1))

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([3, 2000], "names no items"),
            ([3, 3], "holds no rows"),
            ([3.5], "holds no rows"),
            ([3], "holds 1996 items, expected 1999"),
        ],
    )
    def test_other_rows_than_scann_lacks_are_refused(self, sealed, rows, message):
        folder = sealed[0]
        np.save(folder / "long_rows.npy", np.array(rows))
        document = manifest.read(folder)
        (folder / manifest.MANIFEST_NAME).unlink()
        values = {k: v for k, v in document.items() if k not in ("files", "checksum")}
        manifest.seal(folder, values)
        with pytest.raises(InputError, match=message):
            bundle.open_bundle(folder)
