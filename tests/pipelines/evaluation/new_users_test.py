"""Users whom training never saw: who they are, what is known of them, how lists do on them."""

import numpy as np
import pytest

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import new_users
from pipelines.publishing import summary
from recall.ragged import Histories, Ragged
from recall.settings.evaluation import EvaluationConfig

HISTORIES = Histories.of(
    Ragged.from_rows([[1, 2], [1, 3, 4], [1, 5], [1, 2, 3]]),
    np.arange(1, 11),
    np.full(4, 99),
    np.array([7, 8, 0, 9]),
)
HELD_OUT = HeldOutUsers(
    np.array([b"a", b"b", b"c", b"d"], object),
    HISTORIES,
    Ragged.from_rows([[3], [4], [5], [2, 6]]),
    np.array([0, 2, 0, 0]),
)


def test_those_with_features_and_without_training_clicks():
    assert new_users.choose(HELD_OUT).user_ids.tolist() == [b"a", b"d"]
    plain = HeldOutUsers(HELD_OUT.user_ids, Ragged.from_rows([[2]] * 4), HELD_OUT.positives)
    assert new_users.choose(plain).num_users == 0


def test_nothing_of_their_clicks_is_left():
    seen = []
    new_users.without_clicks(seen.append)(HISTORIES.take(np.array([0, 3])).last_padded(2))
    (start,) = seen
    assert start.tolist() == [[[1, 0, 0, 7]], [[1, 0, 0, 9]]]


def test_metrics_by_hand():
    config = EvaluationConfig(ks=(1, 2), exclude_seen=True, thresholds=())
    removed = {}

    def ranker(name):
        def rank(histories, excluded):
            removed[name] = excluded
            return np.tile([1, 0], (len(histories), 1))

        return rank

    rankers = {name: ranker(name) for name in ("features", "popularity", new_users.CLICKS)}
    found = new_users.measure(rankers, new_users.choose(HELD_OUT), config)
    # Who knows no click cannot leave out what was clicked: 2 in the first, 2 and 3 in the other.
    assert removed["features"] is removed["popularity"] is None
    assert [set(rows[rows >= 0]) for rows in removed["clicks"]] == [{0}, {0, 1}]
    assert (found["num_users"], found["num_clicks"]) == (2, 3)
    # Rows 1, and 0 and 4: found are 1 at place 1, 0 at place 2.
    values = found["rankers"]["features"]
    assert (values["recall@1"], values["recall@2"]) == (0.5, pytest.approx(0.75))
    assert summary.new_users_line(found, [2]) == (
        "2 users with features whose clicks training has not seen; recall@2 of their test clicks "
        "from: features 0.7500, popularity 0.7500, clicks 0.7500"
    )
