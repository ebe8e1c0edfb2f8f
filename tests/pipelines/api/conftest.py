"""A run of a small log, made from a table as a notebook makes it."""

import contextlib
import io

import numpy as np
import pandas as pd
import pytest

import recall
from pipelines import cli
from pipelines.processes import jobs

NUM_ITEMS, NUM_USERS, LENGTH = 60, 150, 12
SETTINGS = {
    "train.max_epochs": 1,
    "model": {"dim": 16, "num_interests": 2, "num_blocks": 1},
    "evaluation.thresholds": [],
}


def make_events(seed: int = 0, num_users: int = NUM_USERS) -> pd.DataFrame:
    """Users who walk through the items by small steps, from anywhere."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(1, 4, (num_users, LENGTH)).cumsum(axis=1)
    items = (rng.integers(0, NUM_ITEMS, (num_users, 1)) + steps) % NUM_ITEMS
    return pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(num_users), LENGTH),
            "item_id": items.ravel(),
            "timestamp": pd.to_datetime("2024-01-01")
            + pd.to_timedelta(np.tile(np.arange(LENGTH), num_users), unit="h"),
        }
    )


def make_items() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": np.arange(NUM_ITEMS),
            "category": [f"c{number % 3}|all" for number in range(NUM_ITEMS)],
            "title": [f"Item {number}" for number in range(NUM_ITEMS)],
        }
    )


@pytest.fixture(scope="session")
def events() -> pd.DataFrame:
    return make_events()


@pytest.fixture(scope="session")
def fitted(tmp_path_factory, events) -> "recall.Run":
    """A finished run; do not change it."""
    folder = tmp_path_factory.mktemp("fitted") / "run"
    return recall.fit(events, make_items(), output=folder, config=SETTINGS, show=False)


@pytest.fixture
def in_this_process(monkeypatch):
    """Commands run in the process of the tests, which saves importing TensorFlow for each.

    That they have one of their own is tested by `fitted` and by `processes/jobs_test`.
    """

    def run(words, *, show=True, reword=str):
        results, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(results), contextlib.redirect_stderr(said):
            code = cli.main(words)
        if code:
            raise jobs.failure(words[0], code, said.getvalue().splitlines(keepends=True))
        return results.getvalue()

    monkeypatch.setattr(jobs, "run", run)
