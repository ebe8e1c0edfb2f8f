"""Batches for releases with features of users and of requests: as a server answers."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.inference import jobs, report_lines, user_values, value_counts
from pipelines.inference.answers import EmbedUsers, RecommendUsers
from pipelines.inference.id_files import IdFile
from pipelines.ingestion.open_log import open_events
from pipelines.sources.list_files import ListFile
from recall.errors import InputError
from serving.api.client import Client
from serving.api.recall_request import RecallRequest
from serving.server import RecallServer
from tests.serving.context_release import AGE, COUNTRY, PLACE, TAGS, write_release

LOG = "user_id,item_id,timestamp,screen\na,i1,1700000000,tv\na,i2,1700000050,\nb,i3,1700000060,tv\n"
# Of c the log knows nothing, of d nobody knows anything.
USERS = (
    "user_id,land,tags,age,taste,place\n"
    "b,DE,x|mauve,20,0.1 0.2,home\nc,NL,y,,0.3 -0.4,\nd,,,,,\na,,x|y|x,45,,shop\n"
)
SAID = {
    "a": {"tags": ["x", "y", "x"], "age": 45, "place": "shop", "history_device": ["tv", None]},
    "b": {
        "country": "DE",
        "tags": ["x", "mauve"],
        "age": 20,
        "taste": [0.1, 0.2],
        "place": "home",
        "history_device": ["tv"],
    },
    "c": {"country": "NL", "tags": ["y"], "taste": [0.3, -0.4]},
    "d": {},
}
HISTORIES = {"a": ["i1", "i2"], "b": ["i3"], "c": [], "d": []}


@pytest.fixture(scope="module", name="serving_dir")
def _serving_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    write_release(folder)
    return folder


@pytest.fixture(scope="module", name="served")
def _served(serving_dir):
    """User -> the answer of a server that is told the same."""
    with (
        RecallServer(serving_dir, grpc_port=0, http_port=0) as server,
        Client(server.grpc_address) as client,
    ):
        return {
            user: client.ask(RecallRequest(tuple(history), k=4, context=SAID[user]))
            for user, history in HISTORIES.items()
        }


def write_inputs(folder, users=USERS):
    (folder / "log.csv").write_text(LOG)
    (folder / "users.csv").write_text(users)
    log = open_events(str(folder / "log.csv"))
    return jobs.Users(log, IdFile(str(folder / "users.csv"), "user_id"))


RECOMMEND = RecommendUsers(k=4, fields={}, skip_unknown=False, with_reasons=False)


def recommend(serving_dir, folder, users):
    jobs.write_recommendations(users, RECOMMEND, jobs.JobOptions(serving_dir, folder / "r.parquet"))
    return {row["user_id"]: row for row in pq.read_table(folder / "r.parquet").to_pylist()}


def check(found, served, users="abcd"):
    for user in users:
        items = [(item["item_id"], item["score"]) for item in found[user]["recommendations"]]
        assert [item for item, _ in items] == list(served[user].item_ids), user
        np.testing.assert_allclose(
            [score for _, score in items], served[user].scores, rtol=1e-4, atol=1e-5
        )
        assert found[user]["is_fallback"] == served[user].is_fallback


def test_users_of_a_log_get_what_a_server_says_that_is_told_of_them(serving_dir, served, tmp_path):
    found = recommend(serving_dir, tmp_path, write_inputs(tmp_path))
    check(found, served)
    # Somebody without clicks is answered from her features, and popular items are for nobody.
    assert [found[user]["is_fallback"] for user in "abcd"] == [False, False, False, True]


def test_it_makes_a_difference(serving_dir, served, tmp_path):
    users = write_inputs(tmp_path, "user_id\na\nb\nc\n")
    plain = recommend(serving_dir, tmp_path, users)
    assert plain["c"]["is_fallback"]
    of_b = [item["score"] for item in plain["b"]["recommendations"]]
    assert np.abs(np.array(of_b) - served["b"].scores).max() > 1e-3


@pytest.mark.parametrize("name", ["ready.jsonl", "ready.parquet"])
def test_ready_histories_bring_their_context(serving_dir, served, tmp_path, name):
    rows = [
        {"user_id": user, "history": history, "context": SAID[user] or None}
        for user, history in HISTORIES.items()
    ]
    if name.endswith("jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    ready = ListFile(str(tmp_path / name), "user_id", "history")
    check(recommend(serving_dir, tmp_path, ready), served)


def test_vectors_of_users_without_clicks_are_kept_where_features_are_known(serving_dir, tmp_path):
    users = write_inputs(tmp_path)
    options = jobs.JobOptions(serving_dir, tmp_path / "vectors.parquet")
    counts = jobs.write_user_vectors(users, EmbedUsers(skip_unknown=True), options)
    table = pq.read_table(tmp_path / "vectors.parquet")
    assert sorted(table["user_id"].to_pylist()) == ["a", "b", "c"]
    assert counts["fallback"] == 1


def test_what_is_not_there_is_unknown_and_told(serving_dir, tmp_path, caplog):
    users = write_inputs(tmp_path, "user_id,land\nb,DE\n")
    found = user_values.find_columns((COUNTRY, TAGS, PLACE), users.chosen)
    assert [(column.name, column.source) for column in found] == [("country", "land")]
    assert "'tags' is answered as unknown: " in caplog.text
    assert "lacks the column 'screen'" in caplog.text
    caplog.clear()
    assert user_values.find_columns((COUNTRY, TAGS), None) == ()
    (record,) = caplog.records
    assert "(country, tags)" in record.getMessage()
    assert "Pass --users=FILE" in record.getMessage()


def test_features_of_requests_are_found_by_name_before_their_column(tmp_path):
    (tmp_path / "users.csv").write_text("user_id,place,screen\na,home,tv\n")
    file = IdFile(str(tmp_path / "users.csv"), "user_id")
    (found,) = user_values.find_columns((PLACE,), file)
    assert user_values.read(file, (found,)).to_pylist() == [{"user_id": "a", "place": "home"}]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("user_id,age\na,old\n", "Data row 1 of .*users.csv: column 'age' .*'old'"),
        ("user_id,age\na,3\na,4\n", "2 rows of 1 users. Keep one row per user"),
    ],
)
def test_mistakes_of_a_users_file_are_one_line(tmp_path, text, wanted):
    (tmp_path / "users.csv").write_text(text)
    with pytest.raises(InputError, match=wanted) as error:
        user_values.read(IdFile(str(tmp_path / "users.csv"), "user_id"), (AGE,))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("context", "wanted"),
    [
        ('"home"', "Line 1 of .*'context' is no object of names and values"),
        ('{"city": "x"}', "User 'a' of .*: `context` has 'city', which this release does not"),
        ('{"age": "old"}', "User 'a' of .*: `context.age` must be a number, received 'old'"),
        ('{"history_device": ["tv"]}', "must be a list of as many values as the history has"),
    ],
)
def test_mistakes_of_a_context_are_one_line(serving_dir, tmp_path, context, wanted):
    line = f'{{"user_id": "a", "history": ["i1", "i2"], "context": {context}}}\n'
    (tmp_path / "ready.jsonl").write_text(line)
    ready = ListFile(str(tmp_path / "ready.jsonl"), "user_id", "history")
    with pytest.raises(InputError, match=wanted) as error:
        recommend(serving_dir, tmp_path, ready)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "r.parquet").exists()


def count(serving_dir, folder, users, wanted=RECOMMEND):
    write = jobs.write_recommendations if wanted is RECOMMEND else jobs.write_user_vectors
    return write(users, wanted, jobs.JobOptions(serving_dir, folder / "counted.parquet"))


@pytest.mark.parametrize("wanted", [RECOMMEND, EmbedUsers(True)], ids=["lists", "vectors"])
def test_values_of_every_owner_are_counted(serving_dir, tmp_path, caplog, wanted):
    counts = count(serving_dir, tmp_path, write_inputs(tmp_path), wanted)
    found = {(f.owner, f.feature): (f.known, f.unknown) for f in value_counts.read(counts)}
    assert found == {
        ("user", "country"): (2, 0),
        ("user", "tags"): (5, 1),
        ("user", "age"): (2, 0),
        ("user", "taste"): (2, 0),
        ("request", "place"): (2, 0),
        ("event", "device"): (2, 0),
    }
    (warning,) = [r.getMessage() for r in caplog.records if "vocabulary" in r.getMessage()]
    assert warning.startswith(
        "16.7% of the values of the user feature 'tags' (1 of 6) are outside of the "
        "vocabulary (limit features.max_unknown_share = 0.05)"
    )
    is_list = wanted is RECOMMEND
    line_of = report_lines.recommend_line if is_list else report_lines.embed_users_line
    line = line_of(counts, skip_unknown=False)
    assert line.endswith("; 1 of 6 values of the user feature tags is unknown to the model")
    assert "country" not in line


def test_values_of_ready_histories_are_counted_in_every_part(serving_dir, tmp_path):
    rows = [
        {"user_id": f"u{n}", "history": ["i1"], "context": {"history_device": ["fridge"]}}
        for n in range(9)
    ]
    path = tmp_path / "ready.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    users = ListFile(str(path), "user_id", "history")
    options = jobs.JobOptions(serving_dir, tmp_path / "ready.parquet", rows_per_file=4)
    counts = jobs.write_recommendations(users, RECOMMEND, options)
    assert list(value_counts.read(counts)) == [("event", "device", 0, 9)]
    again = jobs.write_recommendations(users, RECOMMEND, options)
    assert list(value_counts.read(again)) == [("event", "device", 0, 9)]
