"""The baseline of content neighbours, by hand."""

import numpy as np
import pyarrow as pa

from pipelines.evaluation.rankers.content import content_matrix, content_ranker
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.ragged import Histories, Ragged

DECLARED = (
    FeatureColumn("colours", "item", "categorical", max_values=2, min_count=1),
    FeatureColumn("words", "item", "text", hash_buckets=10),
    FeatureColumn("price", "item", "numeric"),
    FeatureColumn("image", "item", "vector", dim=2),
)
TABLE = pa.table(
    {
        "colours": pa.array([["red"], ["blue"], ["red"], [], ["blue", "red"]]),
        "words": pa.array(["red hat", "shoe", "Hat, red!", "", "sock"]),
        "price": pa.array([1.0, 9.0, 1.0, None, 9.0]),
        "image": pa.array([[1, 0], [0, 1], [2, 0], None, [0, 3]], pa.list_(pa.float32())),
    }
)


def features(*names):
    declared = [column for column in DECLARED if column.name in names]
    return ItemFeatures.fit(declared, TABLE, np.ones(5))


def test_rows_have_unit_length_and_equal_content_is_equal():
    matrix = content_matrix(features("colours", "words", "price", "image"))

    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    np.testing.assert_allclose(lengths, [1, 1, 1, 0, 1], rtol=1e-5)
    similar = (matrix @ matrix.T).toarray()
    np.testing.assert_allclose(similar[0, 2], 1, rtol=1e-5)
    assert similar[0, 1] == 0


def test_rare_names_weigh_more():
    matrix = content_matrix(features("colours"))
    # red is on 3 of 5 items, blue on 2: log(6 / 3) and log(6 / 2).
    weights = np.array([np.log(3), np.log(2)]) / np.hypot(np.log(3), np.log(2))
    similar = (matrix @ matrix.T).toarray()[4]
    np.testing.assert_allclose(similar, [weights[1], weights[0], weights[1], 0, 1], rtol=1e-5)


def test_a_user_is_the_mean_of_the_latest_clicks():
    matrix = content_matrix(features("image"))
    rank = content_ranker(matrix, matrix, 2)
    histories = Ragged.from_rows([[2], [3, 3, 3] + [2] * 10, [3]])

    rows = rank(histories, Ragged.from_rows([[0], [0], []]))
    assert rows[:2, 0].tolist() == [2, 2]
    assert set(rows[2].tolist()) == {1, 4}
    alone = content_ranker(matrix, matrix[[1, 4]], 1)(histories, None)
    assert alone[2, 0] in (0, 1)


def test_what_stands_beside_clicks_changes_nothing():
    matrix = content_matrix(features("image"))
    items = Ragged.from_rows([[2, 3], [3]])
    histories = Histories.of(items, times=np.array([5, 6, 7]), requests=np.array([8, 9]))

    rank = content_ranker(matrix, matrix, 2)
    np.testing.assert_array_equal(rank(histories, None), rank(items, None))
