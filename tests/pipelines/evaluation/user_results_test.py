"""Places of held-out clicks: written, read and turned into metrics again."""

import dataclasses

import numpy as np
import pytest

from pipelines.evaluation import user_results
from pipelines.evaluation.user_results import UserResults
from recall.errors import InputError
from recall.metrics import ranking
from recall.ragged import Ragged


@pytest.fixture
def results():
    """Three users; item -1 is unknown, the last user's clicks are on one item."""
    return UserResults(
        np.array(["u1", "ü2", "u3"], object),
        np.array([4, 1, 9]),
        np.array([4, 0, -1]),
        Ragged.from_rows([[5, 7], [-1], [3, 3]]),
        {"model": np.array([1, 0, 0, 2, 2]), "popularity": np.array([0, 3, 0, 0, 0])},
        depth=3,
        num_tested=30,
    )


def test_what_is_written_is_read(results, tmp_path):
    results.write(tmp_path / "users.parquet")
    read = UserResults.read(tmp_path / "users.parquet")
    assert read.user_ids.tolist() == ["u1", "ü2", "u3"]
    assert read.history_lengths.tolist() == [4, 1, 9]
    assert read.num_trained.tolist() == [4, 0, -1]
    assert [read.positives[user].tolist() for user in range(3)] == [[5, 7], [-1], [3, 3]]
    assert {name: places.tolist() for name, places in read.places.items()} == {
        "model": [1, 0, 0, 2, 2],
        "popularity": [0, 3, 0, 0, 0],
    }
    assert (read.depth, read.num_tested) == (3, 30)


def test_metrics_are_those_of_the_lists(results):
    lists = np.array([[5, 0, 1], [2, 4, 6], [9, 3, 8]])
    expected = ranking.compute_ranking_metrics(lists, results.positives, [1, 3]).values
    found = {name: m.total() for name, m in results.user_metrics("model", [1, 3]).items()}
    assert found == pytest.approx(expected)
    # By hand: 1 of 2 clicks, none of 1, the one item of 1.
    assert found["recall@3"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert found["hit_rate@3"] == pytest.approx(3 / 5)


def test_users_of_two_runs_are_matched(results):
    mine, theirs = user_results.match_users(results, results.take(np.array([2, 1, 0])))
    assert mine.user_ids.tolist() == theirs.user_ids.tolist() == ["u1", "u3", "ü2"]


@pytest.mark.parametrize(
    "changed",
    [
        {"user_ids": np.array(["u1", "x", "y"], object)},
        {"history_lengths": np.array([4, 2, 8])},
        {"positives": Ragged.from_rows([[5], [7, -1], [3, 3]])},
    ],
)
def test_users_of_another_log_are_others_whatever_their_ids(results, changed):
    other = dataclasses.replace(results, **changed)
    assert user_results.match_users(results, other) is None


def test_some_users(results):
    some = results.take(np.array([2, 0]))
    assert some.user_ids.tolist() == ["u3", "u1"]
    assert some.positives.values.tolist() == [3, 3, 5, 7]
    assert some.places["model"].tolist() == [2, 2, 1, 0]
    assert some.places["popularity"].tolist() == [0, 0, 0, 3]


@pytest.mark.parametrize("content", [None, b"", b"no parquet"])
def test_a_damaged_file_is_an_error_in_a_line(tmp_path, content):
    path = tmp_path / "users.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"Cannot read .*users\.parquet.*recall evaluate"):
        UserResults.read(path)
