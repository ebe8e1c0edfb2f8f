"""Held-out clicks by the clicks and the age of their items, by hand."""

import numpy as np

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import item_buckets
from recall.ragged import Histories, Ragged
from recall.vocabulary import ItemVocabulary

DAY = 86_400
VOCABULARY = ItemVocabulary(list("abcd"), [30, 7, 1, 0])
# Dense ids: a 2, b 3, c 4, d 5; 1 is no item.
HISTORIES = Histories.of(
    Ragged.from_rows([[2, 3], [2], [3]]),
    np.array([10 * DAY, 12 * DAY, 50 * DAY, 5 * DAY]),
    np.array([20 * DAY, 60 * DAY, 5 * DAY + 60]),
)
HELD_OUT = HeldOutUsers(
    np.array([b"u", b"v", b"w"], object),
    HISTORIES,
    Ragged.from_rows([[3, 5], [2, 4], [3, 1]]),
)
TOP_ROWS = {"model": np.array([[1, 3], [3, 2], [0, 1]]), "none": np.full((3, 2), -1)}


def test_by_training_clicks():
    buckets = item_buckets.by_clicks(HELD_OUT, VOCABULARY)
    sizes = {name: mask.sum() for name, mask in buckets if mask.any()}
    assert sizes == {"none": 2, "1 to 4": 1, "5 to 19": 2, "20 to 99": 1}
    assert buckets[-1].name == "1,000 or more"
    found = item_buckets.measure(TOP_ROWS, HELD_OUT, buckets, [1, 2])
    assert list(found) == ["none", "1 to 4", "5 to 19", "20 to 99"]
    # d of u at place 2, the unknown item of w nowhere; c of v at 2; b of u at 1, of w at 2.
    assert found["none"] == {
        "num_clicks": 2,
        "model": {"recall@1": 0, "recall@2": 0.5},
        "none": {"recall@1": 0, "recall@2": 0},
    }
    assert found["1 to 4"]["model"] == {"recall@1": 0, "recall@2": 1}
    assert found["5 to 19"]["model"] == {"recall@1": 0.5, "recall@2": 1}
    assert found["20 to 99"]["model"] == {"recall@1": 0, "recall@2": 0}


def test_by_age_when_the_list_is_asked_for():
    buckets = item_buckets.by_age(HELD_OUT)
    members = {name: np.flatnonzero(mask).tolist() for name, mask in buckets if mask.any()}
    # b was first clicked on day 5, by w; u asks on day 20, w a minute after it. d and c are
    # clicked for the first time, as is what is no item. a was on day 10; v asks on day 60.
    assert members == {"less than 1 day": [1, 3, 4, 5], "7 to 30 days": [0], "30 to 90 days": [2]}


def test_without_times_there_is_no_age():
    plain = HeldOutUsers(HELD_OUT.user_ids, Ragged.from_rows([[2]] * 3), HELD_OUT.positives)
    assert item_buckets.by_age(plain) is None
    users_alone = Histories.of(plain.histories, user_rows=np.arange(3))
    assert item_buckets.by_age(HeldOutUsers(plain.user_ids, users_alone, plain.positives)) is None
    found = item_buckets.measure_all(TOP_ROWS, plain, VOCABULARY, [2])
    assert found["by_age"] == {"missing": item_buckets.NO_TIMES}
    assert found["by_clicks"]["none"]["num_clicks"] == 2
