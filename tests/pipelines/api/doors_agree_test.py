"""The same users asked in Python, by the batch commands and of a server: the same items."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import recall
from pipelines import cli
from tests.pipelines.api import conftest

SETTINGS = {
    "train.max_epochs": 1,
    "model": {**conftest.SETTINGS["model"], "time_bias": True},
    "evaluation.thresholds": [],
    "features.columns": [
        {"name": "country", "owner": "user", "kind": "categorical"},
        {"name": "tags", "owner": "user", "kind": "categorical", "max_values": 2},
        {"name": "age", "owner": "user", "kind": "numeric"},
        {"name": "device", "owner": "event", "kind": "categorical"},
        {"name": "paid", "owner": "event", "kind": "numeric"},
        {"name": "place", "owner": "request", "kind": "categorical"},
    ],
}
ASKED = ["3", "7", "149"]
"""The last one is not in the users file."""


def make_log() -> pd.DataFrame:
    events = conftest.make_events()
    rows = np.arange(len(events))
    devices = np.array(["tv", "web", None, "phone"], object)[rows % 4]
    devices[7 * conftest.LENGTH + 11] = "fridge"  # The last click of 7: out of the vocabulary.
    return events.assign(
        device=devices,
        paid=np.where(rows % 5 == 0, np.nan, rows % 7 * 1.5),
        place=np.array(["home", "shop"])[rows % 2],
    )


def make_users() -> pd.DataFrame:
    numbers = np.arange(140)
    return pd.DataFrame(
        {
            "user_id": numbers,
            "country": np.array(["NL", "BE", ""])[numbers % 3],
            "tags": np.array(["old|rich", "young", ""])[numbers % 3],
            "age": numbers / 2 + 18,
        }
    )


def context_of(user: str) -> dict:
    """What a request says of a user, from the tables."""
    clicks = make_log().query(f"user_id == {user}")
    seconds = (clicks.timestamp - pd.Timestamp(0)) // pd.Timedelta("1s")
    context = {
        "history_device": [d if isinstance(d, str) else None for d in clicks.device],
        "history_paid": [None if np.isnan(paid) else paid for paid in clicks.paid],
        "history_timestamps": seconds.tolist(),
        "request_timestamp": int(pd.Timestamp("2024-01-01T11:00:00").timestamp()),
    }
    known = make_users().query(f"user_id == {user}")
    for country, tags, age in known[["country", "tags", "age"]].itertuples(index=False):
        context |= {"country": country, "tags": tags.split("|"), "age": age}
    return context


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory) -> "recall.Run":
    folder = tmp_path_factory.mktemp("doors")
    make_log().to_csv(folder / "events.csv", index=False)
    make_users().to_csv(folder / "users.csv", index=False)
    return recall.fit(
        folder / "events.csv",
        users=folder / "users.csv",
        output=folder / "run",
        config=SETTINGS,
        show=False,
    )


@pytest.fixture(scope="module", name="client")
def _client(run):
    with run.serve() as server, server.client() as client:
        yield client


def ask_server(client, user: str, **context) -> list[tuple[str, float]]:
    history = make_log().query(f"user_id == {user}").item_id.astype(str).tolist()
    answer = client.recommend(history, k=6, context={**context_of(user), **context})
    return [(item.item_id, item.score) for item in answer.items]


def ask_python(run, user: str, **fields) -> list[tuple[str, float]]:
    table = run.recommend([user], k=6, with_metadata=False, **fields)
    return list(zip(table.item_id, table.score, strict=True))


def assert_same(found, wanted) -> None:
    assert [item for item, _ in found] == [item for item, _ in wanted]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in wanted], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("user", ASKED)
def test_python_answers_as_a_server_that_is_told_the_same(run, client, user):
    wanted = ask_server(client, user)
    assert_same(ask_python(run, user), wanted)
    history = make_log().query(f"user_id == {user}").item_id.astype(str).tolist()
    clicks_alone = run.recommend(histories=[history], k=6)
    differences = clicks_alone.score.to_numpy() - np.array([score for _, score in wanted])
    assert np.abs(differences).max() > 1e-3  # What is said beside the clicks does something.


@pytest.mark.slow
def test_batches_answer_as_python(run, tmp_path):
    users = make_users()
    users.loc[len(users)] = [149, "", "", np.nan]  # Nothing is known of her.
    users[users.user_id.isin([3, 7, 149])].to_csv(tmp_path / "users.csv", index=False)
    words = [f"--release={run.serving_dir}", f"--events={run.path.parent}/events.csv"]
    words += [f"--users={tmp_path}/users.csv"]
    recommended, embedded = tmp_path / "items.parquet", tmp_path / "vectors.parquet"
    assert cli.main(["recommend", *words, "--k=6", f"--output={recommended}"]) == 0
    assert cli.main(["embed", *words, f"--output={embedded}"]) == 0
    rows = {row["user_id"]: row for row in pq.read_table(recommended).to_pylist()}
    assert rows.keys() == {*ASKED}
    for user in ASKED:
        items = [(item["item_id"], item["score"]) for item in rows[user]["recommendations"]]
        assert_same(ask_python(run, user), items)
    vectors = {r["user_id"]: r["user_vectors"] for r in pq.read_table(embedded).to_pylist()}
    found = run.user_vectors(ASKED).user_vectors
    for user, own in zip(ASKED, found, strict=True):
        np.testing.assert_allclose(own, vectors[user], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_a_call_says_goes_before_what_is_stored(run, client):
    said = {"country": "BE", "place": "shop", "request_timestamp": 1704200000}
    wanted = ask_server(client, "3", **said)
    assert_same(ask_python(run, "3", context=said), wanted)
    assert wanted != ask_server(client, "3")
    nothing = dict.fromkeys(("country", "tags", "age"))
    unknown = ask_python(run, "3", context=nothing)
    history_context = {k: v for k, v in context_of("3").items() if k not in nothing}
    history = make_log().query("user_id == 3").item_id.astype(str).tolist()
    told = run.recommend(histories=[history], k=6, context=history_context)
    assert_same(unknown, list(zip(told.item_id, told.score, strict=True)))
    vectors = run.user_vectors(histories=[history], context=history_context).user_vectors
    same = run.user_vectors(["3"], context=nothing).user_vectors
    np.testing.assert_allclose(vectors, same, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_context_of_another_kind_is_one_line(run):
    for call in (run.recommend, run.user_vectors):
        with pytest.raises(recall.InputError, match="`context` has 'shoe', which this") as caught:
            call(["3"], context={"shoe": 43})
        assert "\n" not in str(caught.value)
