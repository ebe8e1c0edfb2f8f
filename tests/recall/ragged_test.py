import numpy as np
import pytest

from recall.ragged import Ragged

ROWS = [[5, 6, 7], [], [8], [9, 2]]


def as_lists(ragged):
    return [ragged[row].tolist() for row in range(len(ragged))]


def test_rows():
    ragged = Ragged.from_rows(ROWS)
    assert as_lists(ragged) == ROWS
    np.testing.assert_array_equal(ragged.lengths, [3, 0, 1, 2])
    np.testing.assert_array_equal(ragged.row_numbers(), [0, 0, 0, 2, 3, 3])
    assert ragged.values.dtype == ragged.offsets.dtype == np.int64


def test_slice_and_take():
    ragged = Ragged.from_rows(ROWS)
    assert as_lists(ragged.slice(1, 3)) == ROWS[1:3]
    assert as_lists(ragged.slice(3, 9)) == ROWS[3:]
    assert as_lists(ragged.take(np.array([3, 1, 0, 3]))) == [ROWS[3], ROWS[1], ROWS[0], ROWS[3]]


def test_last_padded_is_left_aligned_with_the_latest_values():
    padded = Ragged.from_rows(ROWS).last_padded(2)
    np.testing.assert_array_equal(padded, [[6, 7], [0, 0], [8, 0], [9, 2]])


def test_no_rows():
    ragged = Ragged.from_rows([])
    assert len(ragged) == 0
    assert ragged.last_padded(3).shape == (0, 3)
    assert len(ragged.take(np.zeros(0, np.int64))) == 0


@pytest.mark.parametrize("offsets", [[], [1, 3], [0, 2], [0, 4, 3]])
def test_offsets_must_fit(offsets):
    with pytest.raises(ValueError, match="offsets"):
        Ragged(np.arange(3), np.array(offsets, np.int64))
