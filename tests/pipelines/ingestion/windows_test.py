import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from pipelines.ingestion import windows


def test_cut_from_the_end_with_one_event_in_common():
    # Users of 6, 1, 0, 4 and 5 events; at most 3 inputs.
    cut = windows.cut_windows(np.array([0, 6, 7, 7, 11, 16]), 3)
    assert list(zip(cut.starts.tolist(), cut.stops.tolist(), strict=True)) == [
        (0, 3),
        (2, 6),
        (7, 11),
        (11, 13),
        (12, 16),
    ]


@hypothesis.given(st.lists(st.integers(0, 40), max_size=8), st.integers(1, 12))
def test_every_event_but_the_first_is_a_target_once(lengths, max_history_length):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    cut = windows.cut_windows(offsets, max_history_length)
    targets = []
    for start, stop in zip(cut.starts.tolist(), cut.stops.tolist(), strict=True):
        assert 2 <= stop - start <= max_history_length + 1
        targets.extend(range(start + 1, stop))
    expected = [
        position
        for first, last in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        for position in range(first + 1, last)
    ]
    assert targets == expected


@pytest.mark.parametrize(
    ("max_history_length", "expected"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (4, (1, 2, 3, 4)),
        (5, (1, 2, 3, 4, 5)),
        (50, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 50)),
        (64, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)),
        (200, (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 200)),
    ],
)
def test_bucket_boundaries(max_history_length, expected):
    assert windows.bucket_boundaries(max_history_length) == expected


def test_bucket_of():
    slots = np.array([1, 4, 5, 8, 9, 10])
    assert windows.bucket_of(slots, (4, 8, 10)).tolist() == [4, 4, 8, 8, 10, 10]


@pytest.mark.parametrize("stride", [1, 2, 5, 9])
def test_windows_that_overlap(stride):
    """By a loop: from the end on, so far apart, until a window begins with the first event."""
    lengths = [0, 1, 2, 6, 7, 8, 23]
    offsets = np.cumsum([0, *lengths])
    expected = []
    for begin, length in zip(offsets, lengths, strict=False):
        cut, stop = [], begin + length
        while length > 1:
            start = max(begin, stop - 6)
            cut.append((int(start), int(stop)))
            if start == begin:
                break
            stop -= min(stride, 5)
        expected += cut[::-1]
    cut = windows.cut_windows(offsets, 5, stride)
    assert list(zip(cut.starts.tolist(), cut.stops.tolist(), strict=True)) == expected
