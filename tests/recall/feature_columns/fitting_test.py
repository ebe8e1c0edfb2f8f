"""What is learnt of the values of features: vocabularies, scales, buckets."""

import numpy as np
import pyarrow as pa
import pytest

from recall.feature_columns import fitting
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn, raw_type


def fit_values(values, **parameters):
    column = FeatureColumn("x", "item", **parameters)
    return fitting.fit(column, pa.array(values, raw_type(column)))


def test_a_vocabulary_has_frequent_values_first_and_rare_ones_not():
    names = [["red", "blue"], ["blue"], ["red", "blue", "green"], [], ["red"], None]
    fitted = fit_values(names, kind="categorical", max_values=2)

    # blue 3 and red 3, by name; green once.
    assert fitted.values == ("blue", "red")
    assert (fitted.width, fitted.num_slots, fitted.num_rows) == (2, 2, 3)


def test_a_vocabulary_is_bounded_and_one_value_is_one_slot():
    fitted = fit_values(
        [["a"], ["b"], ["b"], ["a"], ["b"]], kind="categorical", max_vocabulary=1, min_count=1
    )
    assert (fitted.values, fitted.width) == (("b",), 1)
    assert fit_values([], kind="categorical").values == ()


def test_numbers_are_normalised_by_their_mean_and_deviation():
    fitted = fit_values([1.0, 3.0, None, 5.0], kind="numeric")

    assert fitted.mean == 3.0
    np.testing.assert_allclose(fitted.stddev, np.sqrt(8 / 3))
    assert (fitted.num_slots, fitted.num_numbers, fitted.num_rows) == (0, 2, 0)
    assert fit_values([2.0, 2.0], kind="numeric").stddev == 1.0
    assert fit_values([0.1] * 3, kind="numeric").stddev == 1.0  # Though .3 / 3 is not .1.
    assert fit_values([None], kind="numeric").mean == 0.0


def test_the_logarithm_comes_before_the_mean():
    fitted = fit_values([0.0, np.e - 1], kind="numeric", scale="log")
    np.testing.assert_allclose([fitted.mean, fitted.stddev], [0.5, 0.5])


def test_buckets_have_as_many_values_each():
    fitted = fit_values(list(range(1, 9)), kind="numeric", buckets=4)

    # Quartiles of 1..8, as numpy interpolates them.
    assert fitted.edges == (2.75, 4.5, 6.25)
    assert (fitted.num_slots, fitted.num_numbers, fitted.num_rows) == (1, 0, 4)
    assert fit_values([7.0] * 9, kind="numeric", buckets=4).edges == (7.0,)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_counted_numbers_are_as_the_numbers(scale):
    rng = np.random.default_rng(1)
    numbers = rng.zipf(1.4, 999).clip(max=60).astype(float)
    counted = np.unique(np.append(numbers, np.nan), return_counts=True)
    scaled = np.log1p(numbers) if scale == "log" else numbers
    fitted = fitting.fit_numbers(FeatureColumn("x", "item", "numeric", scale=scale), *counted)
    np.testing.assert_allclose([fitted.mean, fitted.stddev], [scaled.mean(), scaled.std()])
    fitted = fitting.fit_numbers(FeatureColumn("x", "item", "numeric", buckets=7), *counted)
    edges = np.unique(np.quantile(numbers, np.arange(1, 7) / 7))
    np.testing.assert_allclose(fitted.edges, edges)


def test_vectors_and_texts():
    vectors = fit_values([[1.0, -1.0], None, [3.0, -3.0]], kind="vector", dim=2)
    np.testing.assert_allclose(vectors.stddev, np.sqrt(5))
    assert (vectors.num_numbers, vectors.num_slots) == (3, 0)
    texts = fit_values(["red hat"], kind="text", hash_buckets=7, max_values=3)
    assert (texts.num_rows, texts.num_slots, texts.num_numbers) == (7, 3, 0)


def test_it_survives_plain_values():
    for fitted in (
        fit_values([["a"], ["a"]], kind="categorical"),
        fit_values([1.0, 2.0, 9.0], kind="numeric", buckets=2),
    ):
        assert FittedColumn.from_dict(fitted.to_dict()) == fitted
        assert "numbers" not in fitted.to_dict()
    numbered = fitted.with_numbers([0, 1, 2])
    assert FittedColumn.from_dict(numbered.to_dict()).numbers == (0, 1, 2)
