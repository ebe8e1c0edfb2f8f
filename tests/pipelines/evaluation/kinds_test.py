"""Metrics of the held-out events of one kind, by hand."""

import numpy as np

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import details, slices
from pipelines.evaluation.kinds import measure_kinds
from pipelines.evaluation.user_results import UserResults
from recall.ragged import Ragged

KINDS = ("buy", "cart", "view")
HELD_OUT = HeldOutUsers(
    np.array([b"u1", b"u2", b"u3"], object),
    Ragged.from_rows([[2], [3], [4]]),
    Ragged.from_rows([[5, 6], [7], [8, 9, 5]]),  # Rows 3 4, 5, 6 7 3.
    positive_kinds=np.array([1, 3, 3, 1, 1, 3]),
)
TOP_ROWS = np.array([[3, 0, 4], [1, 2, 0], [7, 1, 3]], np.int32)


def test_by_hand():
    found = measure_kinds(TOP_ROWS, HELD_OUT, KINDS, [1, 3])
    assert set(found) == {"buy", "view"}
    # Bought: u1 row 3 (place 1), u3 rows 6 (none) and 7 (place 1).
    assert found["buy"]["num_users"] == 2
    assert found["buy"]["num_positives"] == 3
    assert found["buy"]["recall@1"] == (1 + 1 / 2) / 2
    assert found["buy"]["hit_rate@1"] == 2 / 3
    # Viewed: u1 row 4 (place 3), u2 row 5 (none), u3 row 3 (place 3).
    assert found["view"]["recall@1"] == 0
    assert found["view"]["recall@3"] == 2 / 3


def test_users_and_events_of_some_kinds():
    rows, users = HELD_OUT.of_kinds([1])
    assert rows.tolist() == [0, 2]
    assert users.user_ids.tolist() == [b"u1", b"u3"]
    assert [users.positives[row].tolist() for row in (0, 1)] == [[5], [8, 9]]
    assert [users.histories[row].tolist() for row in (0, 1)] == [[2], [4]]
    assert users.positive_kinds.tolist() == [1, 1, 1]
    assert HELD_OUT.of_kinds([1, 3])[1].positives.values.tolist() == [5, 6, 7, 8, 9, 5]
    assert HELD_OUT.of_kinds([2])[1].num_users == 0


def test_stored_with_the_users(tmp_path):
    results = details.collect_user_results(HELD_OUT, {"model": TOP_ROWS}, KINDS)
    results.write(tmp_path / "users.parquet")
    again = UserResults.read(tmp_path / "users.parquet")
    assert sorted(again.kinds.tolist()) == ["buy"] * 3 + ["view"] * 3
    by_user = dict(zip(again.user_ids, range(3), strict=True))
    third = again.take(np.array([by_user["u3"]]))
    assert third.kinds.tolist() == ["buy", "buy", "view"]
    assert [(s.name, s.is_member.sum()) for s in slices.by_kind(again)] == [("buy", 3), ("view", 3)]


def test_logs_without_kinds(tmp_path):
    plain = HeldOutUsers(HELD_OUT.user_ids, HELD_OUT.histories, HELD_OUT.positives)
    results = details.collect_user_results(plain, {"model": TOP_ROWS})
    results.write(tmp_path / "users.parquet")
    assert UserResults.read(tmp_path / "users.parquet").kinds is None
    assert slices.by_kind(results) == []
