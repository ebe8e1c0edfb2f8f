"""Features in the library: tables of users, contexts, and what another log is judged by."""

import numpy as np
import pandas as pd
import pytest

import recall
from tests.pipelines.api import conftest

SETTINGS = {
    **conftest.SETTINGS,
    "features.columns": [
        {"name": "categories", "owner": "item", "kind": "categorical", "max_values": 2},
        {"name": "country", "owner": "user", "kind": "categorical"},
        {"name": "device", "owner": "event", "kind": "categorical"},
    ],
    "loss.event_weights": {"view": 0.5},
}


def make_users() -> pd.DataFrame:
    return pd.DataFrame({"user_id": np.arange(140), "country": ["NL", "BE"] * 70})


def make_events(seed: int = 0, num_users: int = conftest.NUM_USERS) -> pd.DataFrame:
    events = conftest.make_events(seed, num_users)
    rows = np.arange(len(events))
    kinds, devices = np.array(["view", "buy", "view"]), np.array(["tv", "web"])
    return events.assign(kind=kinds[rows % 3], device=devices[rows % 2])


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory) -> "recall.Run":
    """A finished run with features of a table of users."""
    return recall.fit(
        make_events(),
        conftest.make_items(),
        users=make_users(),
        event_type_column="kind",
        output=tmp_path_factory.mktemp("features") / "run",
        config=SETTINGS,
        show=False,
    )


@pytest.mark.slow
def test_somebody_without_clicks_is_answered_from_her_features(run):
    items = run.recommend(histories=[[]], k=5, context={"country": "NL"})
    assert (items.interest >= 0).all()
    other = run.recommend(histories=[[]], k=5, context={"country": "BE"})
    assert items.score.tolist() != other.score.tolist()
    with pytest.raises(recall.InputError, match="The history 0 is empty"):
        run.recommend(histories=[[]], k=5, context={"country": "XX"})
    popular = run.recommend(histories=[[]], k=5, context={"country": "XX"}, popular=True)
    assert (popular.interest == -1).all()


@pytest.mark.slow
def test_another_log_needs_no_files_of_items_and_users_and_says_so(run):
    with pytest.warns(UserWarning, match="alone: the model also looks at country, device"):
        table = run.evaluate(make_events(seed=5, num_users=40))
    values = table.set_index("metric").test
    assert values["num_users"] == 40
    assert 0 < values["recall@50"] <= 1


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("users", "text"),
    [
        (5, "The users are of the type int. Give a pandas"),
        (pd.DataFrame({"id": [1]}), "The users have no column 'user_id', only id"),
        (
            make_users().assign(user_id=-1 - np.arange(140)),
            "None of the 140 users of the users file is in",
        ),
        ("missing.csv", "missing.csv"),
    ],
)
def test_mistakes_in_users_are_one_line(tmp_path, users, text):
    with pytest.raises(recall.InputError, match=text) as caught:
        recall.fit(
            make_events(),
            conftest.make_items(),
            users=users,
            event_type_column="kind",
            output=tmp_path / "run",
            config=SETTINGS,
            show=False,
        )
    assert "\n" not in str(caught.value)
