"""Clicks on items that training never saw: which they are, and how rankers do on them."""

import numpy as np
import pytest

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import cold_items
from pipelines.evaluation.cold_items import ColdRankers
from pipelines.publishing import summary
from recall.ragged import Ragged
from recall.settings.evaluation import EvaluationConfig
from recall.vocabulary import ItemVocabulary

# Rows 2 and 4 (dense ids 4 and 6) are cold.
VOCABULARY = ItemVocabulary(list("abcde"), [3, 2, 0, 1, 0])
HELD_OUT = HeldOutUsers(
    np.array([b"u", b"v", b"w"], object),
    Ragged.from_rows([[2, 3], [5], [6]]),
    Ragged.from_rows([[4, 3], [2], [6, 1, 4]]),
    np.array([2, 1, 0]),
)
CONFIG = EvaluationConfig(ks=(1, 2), exclude_seen=True, thresholds=())


def ranker_of(order):
    """The same order for everybody, without what is excluded."""

    def rank(histories, excluded):
        lists = []
        for user in range(len(histories)):
            left_out = set() if excluded is None else set(excluded[user].tolist())
            kept = [row for row in order if row not in left_out][:2]
            lists.append(kept + [-1] * (2 - len(kept)))
        return np.array(lists)

    return rank


def test_users_with_cold_clicks_and_these_alone():
    targets = cold_items.cold_targets(HELD_OUT, VOCABULARY)

    assert targets.user_ids.tolist() == [b"u", b"w"]
    assert [row.tolist() for row in (targets.positives[0], targets.positives[1])] == [[4], [6, 4]]
    assert targets.histories[1].tolist() == [6]
    assert targets.num_trained.tolist() == [2, 0]


def test_metrics_among_all_items_and_among_cold_ones():
    # Places 0 and 1 of the cold part are the rows 2 and 4.
    rankers = {"model": ColdRankers(ranker_of([0, 4, 2]), ranker_of([1, 0]))}
    found = cold_items.measure(rankers, HELD_OUT, VOCABULARY, CONFIG)

    assert (found["num_items"], found["num_users"], found["num_clicks"]) == (2, 2, 3)
    # u has seen row 0: (4, 2) has row 2 second. w has seen row 4: (0, 2), one of its two.
    among_all = found["among_all"]
    assert among_all["model"]["recall@1"] == 0
    assert among_all["model"]["recall@2"] == pytest.approx((1 + 1 / 2) / 2)
    assert among_all["chance"] == {"recall@1": 0.2, "recall@2": 0.4}
    # u: (4, 2). w: (2) alone.
    assert found["alone"]["model"]["recall@1"] == pytest.approx((0 + 1 / 2) / 2)
    assert found["alone"]["model"]["recall@2"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["alone"]["chance"] == {"recall@1": 0.5, "recall@2": 1.0}
    line = summary.cold_items_line(found, [2])
    assert line == (
        "2 items without a training click, 3 test clicks on them; recall@2 among all items: "
        "chance 0.4000, model 0.7500; among these alone: chance 1.0000, model 0.7500"
    )
    assert "; recall@1 / @2 among all items: chance 0.2000 / 0.4000, model 0.0000 / 0.7500; " in (
        summary.cold_items_line(found, [1, 2])
    )


def test_nothing_is_said_where_nobody_clicks_them():
    held_out = HELD_OUT.take(np.array([1]))
    assert cold_items.measure({}, held_out, VOCABULARY, CONFIG) is None
