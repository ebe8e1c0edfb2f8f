"""Numbers that lose nothing in four bytes."""

import numpy as np
import pytest

from pipelines.ingestion.encoding.narrow_numbers import narrow

SMALL = [[0, 7], [2**32 - 1], [0.0, 1_700_000_000.0]]
AS_THEY_ARE = [[-1, 5], [2**32], [0.5], [-1.0], [np.nan, 1.0], [np.inf], [2.0**32], [1e300]]


@pytest.mark.parametrize("numbers", SMALL)
def test_whole_numbers_are_half_as_large(numbers):
    found = narrow(np.array(numbers))
    assert found.dtype == np.uint32
    assert found.tolist() == numbers


@pytest.mark.parametrize("numbers", AS_THEY_ARE)
def test_others_stay(numbers):
    numbers = np.array(numbers)
    assert narrow(numbers) is numbers


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.float32])
def test_what_is_small_or_nothing_stays(kind):
    for numbers in (np.array([1, 2], kind), np.empty(0, kind), np.empty(0, np.int64)):
        assert narrow(numbers) is numbers
