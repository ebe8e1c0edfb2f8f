"""Runs and releases from Python; what is recommended is compared with a sort in numpy."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import recall
from tests.pipelines.api import conftest

ROOT = Path(__file__).parents[3]


def history_of(events, user) -> list[str]:
    return [str(item) for item in events[events.user_id == user].item_id]


def best_items(run, vectors, left_out, k):
    """By sorting all items: (id, largest inner product, interest)."""
    item_ids, item_vectors = run.item_vectors()
    scores = vectors @ item_vectors.T
    order = [r for r in np.argsort(-scores.max(axis=0)) if item_ids[r] not in left_out][:k]
    return [item_ids[r] for r in order], scores.max(axis=0)[order], scores.argmax(axis=0)[order]


# ---- numbers -----------------------------------------------------------------


def test_metrics_are_those_of_the_report(fitted):
    report = json.loads((fitted.path / "evaluation/report.json").read_text())
    table = fitted.metrics.set_index("metric")
    assert table.loc["ndcg@10", "test"] == report["test"]["ndcg@10"]
    assert table.loc["ndcg@10", "validation"] == report["validation"]["ndcg@10"]
    assert table.loc["recall@50", "bigram"] == report["baselines"]["bigram"]["recall@50"]
    errors = report["test"]["standard_errors"]
    assert table.loc["recall@10", "standard_error"] == errors["recall@10"]
    assert table.loc["num_users", "test"] == conftest.NUM_USERS


def test_history_is_the_training_log(fitted):
    (line,) = (fitted.path / "model/training_log.jsonl").read_text().splitlines()
    assert fitted.history.to_dict("records") == [json.loads(line)]


def test_config_is_what_was_asked_for(fitted):
    assert (fitted.config.model.dim, fitted.config.train.max_epochs) == (16, 1)


def test_a_run_shows_itself(fitted):
    value = f"{fitted.metrics.set_index('metric').loc['ndcg@10', 'test']:.4f}"
    assert f"ndcg@10 {value}" in repr(fitted)
    assert f"version {fitted.version}" in repr(fitted)
    assert f"<td style='text-align:left'>{value}</td>" in fitted._repr_html_()


def test_the_report_is_a_page(fitted, tmp_path):
    page = fitted.report()
    assert page.path == fitted.path / "report.html"
    shown = page._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "<html" not in shown  # Escaped: it is the value of an attribute.


# ---- recommendations ---------------------------------------------------------


def test_users_get_the_items_nearest_to_all_they_clicked(fitted, events):
    table = fitted.recommend(["3", 7], k=6)
    assert list(table.columns) == [
        *("user", "rank", "item_id", "score", "interest", "title", "categories")
    ]
    for user in ("3", "7"):
        history = history_of(events, int(user))
        vectors = fitted.user_vectors(histories=[history]).user_vectors[0]
        ids, scores, interests = best_items(fitted, vectors, history, 6)
        found = table[table.user == user]
        assert found["rank"].tolist() == [1, 2, 3, 4, 5, 6]
        assert found.item_id.tolist() == ids
        np.testing.assert_allclose(found.score, scores, rtol=1e-5)
        assert found.interest.tolist() == interests.tolist()
        assert found.title.tolist() == [f"Item {i}" for i in ids]
        assert [sorted(c) for c in found.categories] == [
            sorted(["all", f"c{int(i) % 3}"]) for i in ids
        ]


def test_vectors_of_users_are_those_of_their_histories(fitted, events):
    of_users = fitted.user_vectors(["3", "7"])
    assert of_users.user_vectors.shape == (2, 2, 16)
    of_histories = fitted.user_vectors(histories=[history_of(events, 3), history_of(events, 7)])
    np.testing.assert_allclose(of_users.user_vectors, of_histories.user_vectors, atol=1e-6)
    assert of_users.num_known.tolist() == [conftest.LENGTH] * 2


def test_filters_and_names(fitted):
    histories = {"anna": [1, 2], "ben": [30]}
    table = fitted.recommend(
        histories=histories, k=4, categories=["c1"], exclude=["4"], with_metadata=False
    )
    assert list(table.columns) == ["user", "rank", "item_id", "score", "interest"]
    assert table.user.tolist() == ["anna"] * 4 + ["ben"] * 4
    assert all(int(i) % 3 == 1 and i != "4" for i in table.item_id)
    assert "1" not in table[table.user == "anna"].item_id.tolist()  # Of her history.


def test_similar_items(fitted):
    table = fitted.similar_items([5, "6"], k=3)
    item_ids, vectors = fitted.item_vectors()
    for item in ("5", "6"):
        scores = vectors @ vectors[item_ids.index(item)]
        expected = [item_ids[r] for r in np.argsort(-scores) if item_ids[r] != item][:3]
        assert table[table.similar_to == item].item_id.tolist() == expected
    assert "interest" not in table.columns


def test_unknown_items_are_counted_and_passed_over(fitted):
    with pytest.warns(
        UserWarning, match="2 of 4 ids are no items of this release: 'x', 'y'; passed"
    ):
        table = fitted.recommend(histories=[["1", "x"], ["2", "y"]], k=3)
    assert (
        table.item_id.tolist() == fitted.recommend(histories=[["1"], ["2"]], k=3).item_id.tolist()
    )


@pytest.mark.parametrize(
    ("fields", "same_as", "text"),
    [
        (
            {"categories": ["c1", "c4"]},
            {"categories": ["c1"]},
            "`categories` names what is no category of this release: 'c4'; passed over",
        ),
        ({"exclude_categories": ["C1"]}, {}, "`exclude_categories` .* no category .*: 'C1'"),
        ({"allow": ["5", "x"]}, {"allow": ["5"]}, "`allow` names what is no item .*: 'x'"),
    ],
)
def test_a_filter_that_names_what_is_not_there_says_so(fitted, fields, same_as, text):
    with pytest.warns(UserWarning, match=text) as caught:
        table = fitted.recommend(["3"], k=4, **fields)
    assert caught[0].filename == __file__  # Where the caller is, not inside.
    assert table.item_id.tolist() == fitted.recommend(["3"], k=4, **same_as).item_id.tolist()


def test_popular_items_where_they_are_asked_for(fitted, events):
    table = fitted.recommend(histories=[[]], k=3, popular=True)
    counts = events.item_id.value_counts()
    assert table.interest.tolist() == [-1] * 3
    assert counts[int(table.item_id[0])] >= counts.nlargest(5).min()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda run: run.recommend(["3", "nobody"]), "1 of 2 users are unknown, first 'nobody'"),
        (lambda run: run.recommend(histories=[["1"], []]), "The history 1 is empty"),
        (lambda run: run.recommend(histories={"a": []}), "The history 'a' is empty"),
        (lambda run: run.recommend(histories=[]), "There is no history"),
        (lambda run: run.recommend(histories=["12"]), "each a list of ids"),
        (lambda run: run.recommend(), "Give either users"),
        (lambda run: run.recommend(["3"], histories=[["1"]]), "Give either users"),
        (lambda run: run.recommend(["3"], k=2.5), "`k` must be a whole number, received 2.5"),
        (lambda run: run.similar_items(["3"], k="9"), "`k` must be a whole number, received '9'"),
        (
            lambda run: run.recommend(["3"], categories="red"),
            "`categories` must be a list of texts",
        ),
        (lambda run: run.recommend(5), "`users` must be a list of texts, received 5"),
        (lambda run: run.recommend([None]), r"`users` must be a list of texts, received \[None\]"),
        (lambda run: run.recommend(histories=[[1.0]]), "`histories` must be a list of texts"),
        (lambda run: run.recommend(["3"], categories=["c4"]), "no category of this release: 'c4'"),
        (lambda run: run.similar_items(["3"], categories=["c4"]), "no category of .*: 'c4'"),
        (lambda run: run.recommend(["3"], allow=["x", "y"]), "no item of this release: 'x', 'y'"),
        (lambda run: run.recommend(histories=5), "Give a list of histories"),
        (lambda run: run.recommend(["3"], k=0), r"`k` must be in \[1"),
        (lambda run: run.recommend(["3"], colour="red"), "has no `colour`"),
        (lambda run: run.similar_items(["1", "x"]), "1 of 2 ids is no item of this release: 'x'"),
        (lambda run: run.user_vectors(), "Give either users"),
    ],
)
def test_a_mistake_is_one_line(fitted, call, text):
    with pytest.raises(recall.InputError, match=text) as caught:
        call(fitted)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:In the histories")
def test_a_history_of_unknown_items_is_an_error(fitted):
    with pytest.raises(recall.InputError, match="The history 0 has no item of this release"):
        fitted.recommend(histories=[["x"]])


# ---- other logs, other folders -----------------------------------------------


@pytest.mark.usefixtures("in_this_process")
def test_the_run_s_own_log_gives_its_own_numbers(fitted, events):
    table = fitted.evaluate(events).set_index("metric")
    expected = fitted.metrics.set_index("metric")
    for name in ("recall@10", "ndcg@10", "mrr@50", "coverage@10", "num_users"):
        assert table.loc[name, "test"] == pytest.approx(expected.loc[name, "test"], abs=1e-6)
    assert table.loc["ndcg@10", "standard_error"] > 0


@pytest.mark.usefixtures("in_this_process")
def test_other_users_and_items_the_model_does_not_know(fitted):
    other = conftest.make_events(seed=5, num_users=40)
    other["item_id"] = other.item_id.where(other.item_id > 9, other.item_id + 1000)
    table = fitted.evaluate(other).set_index("metric").test
    assert table["num_users"] == 40
    last = other[other.timestamp == other.timestamp.max()].item_id
    assert table["num_unknown_positives"] == (last >= 1000).sum() > 0


def test_publish_and_load(fitted, tmp_path):
    version = fitted.publish(tmp_path / "shop")
    loaded = recall.load(tmp_path / "shop")
    assert loaded.version == version
    assert type(loaded) is recall.Recommender
    mine, theirs = (r.recommend(histories=[["1", "2"]], k=5) for r in (fitted, loaded))
    assert mine.equals(theirs)
    with pytest.raises(recall.InputError, match="knows no users"):
        loaded.recommend(["3"])
    (tmp_path / "file").write_text("")
    with pytest.raises(recall.InputError, match="file"):
        fitted.publish(tmp_path / "file")


@pytest.mark.usefixtures("in_this_process")
def test_a_log_of_other_items_is_not_judged(fitted, events):
    with pytest.raises(recall.InputError, match=r"none of the 1 items.*, first 'elsewhere'"):
        fitted.evaluate(events.assign(item_id="elsewhere"))


def test_a_run_is_loaded_by_its_folder(fitted):
    assert type(recall.load(fitted.path)) is recall.Run
    assert recall.load(str(fitted.path)).version == fitted.version


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(recall.InputError, match="is no folder"):
        recall.load(tmp_path / "missing")
    with pytest.raises(recall.InputError, match="is no run and holds no release"):
        recall.load(tmp_path)
    (tmp_path / "examples").mkdir()
    with pytest.raises(recall.InputError, match="no finished examples/"):
        recall.load(tmp_path)


@pytest.mark.parametrize("path", [None, 5, b"runs", "", " ", ["runs"]])
@pytest.mark.parametrize(
    "call",
    [
        recall.load,
        recall.Run,
        recall.Recommender,
        recall.serve,
        lambda path: recall.fit("events.csv", output=path if path is not None else 0),
    ],
)
def test_what_is_no_path_is_one_line(call, path):
    with pytest.raises(recall.InputError, match="must be a path, received") as caught:
        call(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda run: run.publish(None), "`serving_dir` must be a path, received None"),
        (lambda run: run.publish("x", keep="2"), "`keep` must be a whole number, received '2'"),
        (lambda run: run.report(compare=5), "`compare` must be a path, received 5"),
        (lambda run: run.evaluate(None), "The events are None. Give a pandas"),
        (lambda run: run.evaluate("x.csv", config=5), "Settings are a list of texts"),
        (lambda run: run.evaluate(""), "`events` must be a path, received ''"),
        (lambda run: run.user_vectors(histories=[[True]]), "`histories` must be a list of texts"),
    ],
)
def test_an_argument_of_another_kind_is_one_line(fitted, call, text):
    with pytest.raises(recall.InputError, match=text) as caught:
        call(fitted)
    assert "\n" not in str(caught.value)


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(recall.InputError, match="is no folder"):
        recall.load(tmp_path / "file")


def test_a_run_that_was_only_ingested(fitted, tmp_path):
    shutil.copytree(fitted.path / "examples", tmp_path / "run/examples")
    run = recall.load(tmp_path / "run")
    assert "not published" in repr(run)
    for what in ("metrics", "history", "config", "version"):
        with pytest.raises(recall.InputError):
            getattr(run, what)


# ---- kernels -----------------------------------------------------------------


@pytest.mark.slow
def test_a_kernel_with_keras_3_fits_and_recommends(fitted, events, tmp_path):
    """TensorFlow and its Keras 3 came first, as in a notebook that others began."""
    events.to_parquet(tmp_path / "events.parquet")
    conftest.make_items().to_parquet(tmp_path / "items.parquet")
    shutil.copytree(fitted.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/export")  # So that a job with Keras has to run.
    program = f"""
import tensorflow as tf
assert tf.keras.Model.__module__.startswith("keras.")
import pandas as pd, recall
run = recall.fit(pd.read_parquet("events.parquet"), pd.read_parquet("items.parquet"),
                 output="run", config={conftest.SETTINGS!r}, show=False)
print(run.recommend(["3"], k=4).item_id.tolist())
print(run.evaluate(pd.read_parquet("events.parquet")).metric[0])
"""
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first == str(fitted.recommend(["3"], k=4).item_id.tolist())
    assert second == "recall@5"
