"""What columns are taken for."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from pipelines.proposals.columns import guess

RNG = np.random.default_rng(1)
COLOURS = pa.array(["red", "blue", "green", None] * 25)
CASES = {
    "one name": (COLOURS, {"kind": "categorical"}),
    "several names": (
        pa.array(["red|blue", "red", "blue", "green|red"] * 25),
        {"kind": "categorical", "max_values": 2},
    ),
    "lists": (
        pa.array([["a", "b", "c"], ["a"], None] * 30),
        {"kind": "categorical", "max_values": 3},
    ),
    "numbers in text": (pa.array([f"{n / 7:.3f}" for n in range(100)]), {"kind": "numeric"}),
    "sizes with a comma": (
        pa.array([f"{n % 9 + 36},5" for n in range(100)]),
        {"kind": "categorical"},
    ),
    "codes in text": (pa.array([str(n % 5) for n in range(100)]), {"kind": "categorical"}),
    "prices": (
        pa.array(np.exp(RNG.normal(0, 3, 500))),
        {"kind": "numeric", "scale": "log"},
    ),
    "prices of a shop": (  # Two in three between 12 and 55 of a median of 20.
        pa.array(np.round(np.exp(RNG.normal(3, 0.75, 5000)), 2)),
        {"kind": "numeric", "scale": "log"},
    ),
    "counts, most of them 0": (
        pa.array(np.where(RNG.random(5000) < 0.7, 0, RNG.geometric(0.05, 5000))),
        {"kind": "numeric", "scale": "log"},
    ),
    "ages": (pa.array(RNG.normal(35, 12, 5000).clip(7, 90)), {"kind": "numeric"}),
    "years": (pa.array(2005 - RNG.geometric(0.1, 5000)), {"kind": "numeric"}),
    "shares": (pa.array(RNG.beta(1, 20, 5000)), {"kind": "numeric"}),  # log(1 + x) is nearly x.
    "one mistake": (pa.array([*RNG.normal(50, 9, 5000), 1e9]), {"kind": "numeric"}),
    "below zero": (pa.array(np.exp(RNG.normal(0, 2, 5000)) - 1), {"kind": "numeric"}),
    "truth": (pa.array([True, False] * 50), {"kind": "categorical"}),
    "days": (
        pa.array([datetime.date(2020, 1, 1) + datetime.timedelta(n) for n in range(100)]),
        {"kind": "numeric"},
    ),
    "vectors": (pa.array([[0.1, 0.2, 0.3]] * 10), {"kind": "vector", "dim": 3}),
    "titles": (
        pa.array([f"the long title of number {n}" for n in range(100)]),
        {"kind": "text", "hash_buckets": 1000},
    ),
}
LEFT_OUT = {
    "is another one in nearly every row": pa.array([f"sku-{n}" for n in range(50)]),
    "is another one in every row, as an id is": pa.array(range(50)),
    "has numbers with a comma (1.000,5): write a point": pa.array(
        [f"1.{n:03},5" if n % 2 == 0 else f"{n},25" for n in range(50)] * 3
    ),
    "has one value only": pa.array(["EUR"] * 50),
    "is empty": pa.array([None, ""], pa.string()),
    "has lists of numbers of different lengths": pa.array([[0.5], [1.0, 2.0]]),
    "has the type struct<a: int64>": pa.array([{"a": 1}]),
}


@pytest.mark.parametrize("name", CASES)
def test_kinds_and_parameters(name):
    array, values = CASES[name]
    assert guess("x", "x", array).values == values


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_what_is_no_feature_says_why(reason):
    found = guess("x", "x", LEFT_OUT[reason])
    assert found.values == {}
    assert found.reason == reason


def test_a_logarithm_says_why():
    # As many small as large ones: a skewness of .7.
    found = guess("x", "x", pa.array([1.5] * 20 + [10.5] * 20 + [100.5] * 20))
    assert found.note == ""
    found = guess("x", "x", pa.array([0.5] * 900 + [15.0] * 90 + [255.0] * 10))
    values = np.repeat([0.5, 15.0, 255.0], [900, 90, 10])

    def skewness(of):
        return np.mean(((of - of.mean()) / of.std()) ** 3)

    expected = (skewness(values), skewness(np.log1p(values)))
    assert found.note == "skewed: {:.1f}, of its logarithm {:.1f}".format(*expected)
    assert found.values["scale"] == "log"


def test_what_was_counted():
    found = guess("x", "colour", COLOURS)
    assert (found.num_rows, found.num_missing, found.num_distinct) == (100, 25, 3)
    assert found.embedding_rows == 4  # And one for others.
