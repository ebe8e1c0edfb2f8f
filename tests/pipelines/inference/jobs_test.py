"""What the jobs write is what a server answers, whatever broke them off meanwhile."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.artifacts import records
from pipelines.inference import jobs, parts
from pipelines.inference.answers import EmbedItems, EmbedUsers, RecommendUsers, SimilarItems
from pipelines.inference.id_files import IdFile
from pipelines.ingestion.open_log import open_events
from pipelines.sources.list_files import ListFile
from recall.errors import InputError
from serving.api.client import Client
from serving.index.bundle import open_bundle
from serving.models.saved_model import SavedModelServable
from serving.protocol.tensors import pad_strings
from serving.server import RecallServer
from tests.serving.category_release import COLOURS, NUM_ITEMS

PLAIN = RecommendUsers(k=7, fields={}, skip_unknown=False, with_reasons=True)


def write_ids(path, column, ids):
    path.write_text("\n".join([column, *ids]) + "\n")
    return IdFile(str(path), column)


def recommend(world, output, wanted=PLAIN, chosen=None, **options):
    users = jobs.Users(world.source(), chosen)
    return jobs.write_recommendations(
        users, wanted, jobs.JobOptions(world.serving_dir, output, **options)
    )


def read(output):
    """A file, or the files of a folder as any reader takes them."""
    return pq.read_table(output / "data" if output.is_dir() else output)


def rows_of(output, key):
    return {row[key]: row for row in read(output).to_pylist()}


@pytest.fixture(scope="module")
def client(world):
    with (
        RecallServer(world.serving_dir, grpc_port=0, http_port=0) as server,
        Client(server.grpc_address) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def vectors(world):
    """`[num_items, dim]` of the release."""
    return np.array(open_bundle(world.serving_dir / "index" / "3").item_vectors)


def assert_equal_lists(items, answer):
    assert [item["item_id"] for item in items] == answer.item_ids
    np.testing.assert_allclose(
        [item["score"] for item in items], answer.scores, rtol=1e-5, atol=1e-6
    )


FIELDS = {
    "plain": {},
    "seen items too": {"include_seen": True},
    "categories": {"categories": ("red", "blue")},
    "no categories": {"exclude_categories": ("green",)},
    "limits": {"max_per_category": 2},
    "lists": {"allow": tuple(f"i{n}" for n in range(30)), "exclude": ("i3", "i5")},
    "weights": {"interest_weights": (1.0, 0.25)},
    "quota": {"merge": "quota", "exact": True},
    "diversity": {"merge": "diversity", "diversity_weight": 0.5},
}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_everybody_gets_what_a_server_answers_one_by_one(world, client, tmp_path, fields):
    wanted = RecommendUsers(7, fields, skip_unknown=False, with_reasons=False)
    recommend(world, tmp_path / "recs", wanted, rows_per_file=16)
    rows = rows_of(tmp_path / "recs", "user_id")
    assert rows.keys() == world.histories.keys()
    for user, history in world.histories.items():
        answer = client.recommend(history, k=7, **fields)
        items = rows[user]["recommendations"]
        assert_equal_lists(items, answer)
        assert [item["interest"] for item in items] == answer.interests
        facts = {name: rows[user][name] for name in ("is_fallback", "num_known", "num_unknown")}
        assert facts == {name: getattr(answer, name) for name in facts}


def test_items_are_those_of_brute_force(world, vectors, tmp_path):
    recommend(world, tmp_path / "recs.parquet")
    tower = SavedModelServable("user_tower", 3, world.serving_dir / "user_tower" / "3")
    rows = rows_of(tmp_path / "recs.parquet", "user_id")
    for user, history in world.histories.items():
        known = [int(item[1:]) for item in history if not item.startswith("gone")]
        if not known:
            continue
        outputs = tower.predict_default({"history_item_ids": pad_strings([history])})
        scores = (outputs["user_vectors"][0] @ vectors.T).max(axis=0)
        scores[known] = -np.inf
        best = [f"i{row}" for row in np.argsort(-scores, kind="stable")[:7] if scores[row] > -9]
        assert [item["item_id"] for item in rows[user]["recommendations"]] == best
        # Beside each, the click whose vector is nearest.
        for item in rows[user]["recommendations"]:
            products = vectors[known] @ vectors[int(item["item_id"][1:])]
            reason = vectors[int(item["because"][1:])] @ vectors[int(item["item_id"][1:])]
            assert reason == pytest.approx(products.max(), abs=1e-6)
            assert item["because"] in history


def test_users_without_a_known_item_get_popular_items_or_are_left_out(world, tmp_path):
    counts = recommend(world, tmp_path / "popular")
    row = rows_of(tmp_path / "popular", "user_id")["unknown"]
    assert [i["item_id"] for i in row["recommendations"]] == [f"i{n}" for n in range(7)]
    assert {(i["interest"], i["score"], i["because"]) for i in row["recommendations"]} == {
        (-1, 0.0, None)
    }
    assert (row["is_fallback"], row["num_known"], row["num_unknown"]) == (True, 0, 2)
    skipped = recommend(world, tmp_path / "skip", RecommendUsers(7, {}, True, True))
    left = rows_of(tmp_path / "skip", "user_id").keys()
    assert world.histories.keys() - left == {"unknown"}
    num_clicks = sum(map(len, world.histories.values()))
    answered = {path: read(tmp_path / path).num_rows for path in ("popular", "skip")}
    assert answered == {"popular": len(world.histories), "skip": len(world.histories) - 1}
    for found, path in ((counts, "popular"), (skipped, "skip")):
        assert (found["answered"], found["fallback"]) == (answered[path], 1)
        lists = read(tmp_path / path)["recommendations"].to_pylist()
        assert found["items"] == sum(map(len, lists))
        assert (found["unknown_ids"], found["known_ids"]) == (3, num_clicks - 3)
        assert found["empty"] == 1  # Who has clicked everything.


def test_a_file_chooses_users(world, tmp_path):
    chosen = write_ids(tmp_path / "users.csv", "user_id", ["u03", "new", "mixed", "u03"])
    counts = recommend(world, tmp_path / "recs", chosen=chosen)
    rows = rows_of(tmp_path / "recs", "user_id")
    assert rows.keys() == {"mixed", "new", "u03"}
    assert (rows["new"]["is_fallback"], rows["new"]["num_unknown"]) == (True, 0)
    assert (counts["users"], counts["without_events"], counts["fallback"]) == (3, 1, 1)
    everybody = tmp_path / "everybody"
    recommend(world, everybody)
    among_all = rows_of(everybody, "user_id")["u03"]["recommendations"]
    for item, twin in zip(rows["u03"]["recommendations"], among_all, strict=True):
        # Scores may differ in their last digits with who else is in a batch.
        assert item == {**twin, "score": pytest.approx(twin["score"], abs=1e-6)}


def test_histories_of_a_file_get_what_those_of_a_log_get(world, tmp_path):
    """But for their order, which is the file's, and a user whom it has twice."""
    lines = [
        json.dumps({"user_id": user, "history": history})
        for user, history in [*world.histories.items(), ("u03", ()), ("new", None)]
    ]
    (tmp_path / "histories.jsonl").write_text("\n".join(lines))
    ready = ListFile(str(tmp_path / "histories.jsonl"), "user_id", "history")
    options = jobs.JobOptions(world.serving_dir, tmp_path / "ready", rows_per_file=16)
    counts = jobs.write_recommendations(ready, PLAIN, options)
    recommend(world, tmp_path / "logged", rows_per_file=16)
    rows, expected = read(tmp_path / "ready").to_pylist(), rows_of(tmp_path / "logged", "user_id")
    assert [row["user_id"] for row in rows] == [*world.histories, "u03", "new"]
    for row in rows[: len(world.histories)]:
        twin = expected[row["user_id"]]
        items = [
            {**item, "score": pytest.approx(item["score"], abs=1e-6)}
            for item in twin["recommendations"]
        ]
        assert row == {**twin, "recommendations": items}
    assert [row["is_fallback"] for row in rows[-2:]] == [True, True]
    num_clicks = sum(map(len, world.histories.values()))
    assert (counts["users"], counts["events"], counts["empty_histories"]) == (
        len(rows),
        num_clicks,
        2,
    )
    assert len(list((tmp_path / "ready" / "data").iterdir())) == -(-len(rows) // 16)
    # It is up to date as long as the file is.
    assert jobs.write_recommendations(ready, PLAIN, options) == counts
    (tmp_path / "histories.jsonl").write_text("\n".join(lines[:3]))
    assert jobs.write_recommendations(ready, PLAIN, options)["users"] == 3


def test_vectors_of_histories_of_a_file(world, tmp_path):
    table = pa.table({"who": list(world.histories), "clicks": list(world.histories.values())})
    pq.write_table(table, tmp_path / "ready.parquet")
    ready = ListFile(str(tmp_path / "ready.parquet"), "who", "clicks")
    options = jobs.JobOptions(world.serving_dir, tmp_path / "ready")
    jobs.write_user_vectors(ready, EmbedUsers(skip_unknown=True), options)
    options = options._replace(output=tmp_path / "logged")
    jobs.write_user_vectors(jobs.Users(world.source()), EmbedUsers(skip_unknown=True), options)
    rows, expected = (rows_of(tmp_path / name, "user_id") for name in ("ready", "logged"))
    assert rows.keys() == expected.keys()
    for user, row in rows.items():
        vectors = [expected[user]["user_vectors"], row["user_vectors"]]
        np.testing.assert_allclose(*vectors, rtol=1e-5, atol=1e-6)


def test_an_empty_file_of_histories_leaves_nothing(world, tmp_path):
    (tmp_path / "none.jsonl").write_text("\n")
    ready = ListFile(str(tmp_path / "none.jsonl"), "user_id", "history")
    with pytest.raises(InputError, match=r"none\.jsonl names nobody: it has no rows\.$"):
        jobs.write_recommendations(
            ready, PLAIN, jobs.JobOptions(world.serving_dir, tmp_path / "recs")
        )
    assert not (tmp_path / "recs").exists()


def test_a_folder_and_a_file_hold_the_same_rows(world, tmp_path):
    counts = recommend(world, tmp_path / "recs", rows_per_file=2)
    assert counts == recommend(world, tmp_path / "recs.parquet", rows_per_file=2)
    names = sorted(path.name for path in (tmp_path / "recs").iterdir())
    assert names == ["artifact.json", "counts.json", "data"]
    parts_of = sorted(path.name for path in (tmp_path / "recs" / "data").iterdir())
    assert len(parts_of) > 10
    assert parts_of[0] == f"part-00000-of-{len(parts_of):05d}.parquet"
    assert json.loads((tmp_path / "recs" / "counts.json").read_text()) == counts
    assert read(tmp_path / "recs").equals(read(tmp_path / "recs.parquet"))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_is_up_to_date_is_not_made_again(world, tmp_path, monkeypatch):
    outputs = (tmp_path / "recs", tmp_path / "recs.parquet")
    counts = [recommend(world, output) for output in outputs]
    monkeypatch.setattr(jobs, "_open", None)
    assert [recommend(world, output) for output in outputs] == counts
    with pytest.raises(TypeError):
        recommend(world, outputs[0], RecommendUsers(8, {}, False, True))


@pytest.fixture(autouse=True)
def _few_shards(monkeypatch):
    """A small log is not cut into 64."""
    monkeypatch.setattr(jobs, "NUM_SHARDS", 5)


class Broken(Exception):
    """Stands for a kill: nothing of the job cleans up its parts."""


def test_a_broken_job_goes_on_where_it_was(world, tmp_path, monkeypatch):
    undisturbed, output = tmp_path / "whole" / "recs", tmp_path / "broken" / "recs"
    recommend(world, undisturbed, rows_per_file=2)
    made, make = [], parts.AnswerPart._make

    def make_some(self, part):
        if len(made) in (4, 9):
            made.append("broken")
            raise Broken
        make(self, part)
        made.append(part.number)

    monkeypatch.setattr(parts.AnswerPart, "_make", make_some)
    for _ in range(2):
        with pytest.raises(Broken):
            recommend(world, output, rows_per_file=2)
        assert not output.exists()
    recommend(world, output, rows_per_file=2)
    numbers = [number for number in made if number != "broken"]
    assert sorted(numbers) == list(range(len(numbers)))  # None twice.
    assert len(made) == len(numbers) + 2
    files = [path for path in undisturbed.rglob("*") if path.is_file()]
    assert len(files) == 2 + len(numbers)
    for path in files:
        if path.name != records.RECORD_NAME:  # It also says how long the job took.
            twin = output / path.relative_to(undisturbed)
            assert twin.read_bytes() == path.read_bytes(), path.name
    assert [path.name for path in output.parent.iterdir()] == ["recs"]


def test_work_of_other_settings_is_dropped(world, tmp_path, monkeypatch):
    make = parts.AnswerPart._make

    def break_off(self, part):
        make(self, part)
        raise Broken

    with monkeypatch.context() as patched:
        patched.setattr(parts.AnswerPart, "_make", break_off)
        with pytest.raises(Broken):
            recommend(world, tmp_path / "recs")
    recommend(world, tmp_path / "recs", RecommendUsers(3, {}, False, False))
    rows = read(tmp_path / "recs").to_pylist()
    lengths = {len(row["recommendations"]) for row in rows if row["user_id"] != "all"}
    assert lengths == {3}


def test_similar_items_are_those_of_a_server(world, client, tmp_path):
    options = jobs.JobOptions(world.serving_dir, tmp_path / "similar", rows_per_file=25)
    fields = {"exclude_categories": ("red",)}
    counts = jobs.write_similar_items(None, SimilarItems(5, fields), options)
    rows = rows_of(tmp_path / "similar", "item_id")
    assert list(rows) == [f"i{row}" for row in range(NUM_ITEMS)]
    for item_id, row in rows.items():
        answer = client.similar_items([item_id], k=5, **fields)
        assert_equal_lists(row["similar_items"], answer)
    assert (counts["answered"], counts["unknown_items"]) == (NUM_ITEMS, 0)


def test_ids_that_are_no_items_are_counted(world, tmp_path):
    chosen = write_ids(tmp_path / "items.csv", "item_id", ["i5", "gone", "i2"])
    options = jobs.JobOptions(world.serving_dir, tmp_path / "similar.parquet")
    counts = jobs.write_similar_items(chosen, SimilarItems(5, {}), options)
    assert list(rows_of(tmp_path / "similar.parquet", "item_id")) == ["i5", "i2"]
    assert counts["unknown_items"] == 1
    nothing = write_ids(tmp_path / "none.csv", "item_id", ["gone"])
    with pytest.raises(InputError, match=r"None of the 1 ids is an item .*'gone'\.$"):
        jobs.write_similar_items(nothing, SimilarItems(5, {}), options)


def test_vectors_of_users_are_those_of_the_tower(world, tmp_path):
    options = jobs.JobOptions(world.serving_dir, tmp_path / "users", rows_per_file=2)
    counts = jobs.write_user_vectors(
        jobs.Users(world.source()), EmbedUsers(skip_unknown=True), options
    )
    table = read(tmp_path / "users")
    assert table.schema.field("user_vectors").type == pa.list_(pa.list_(pa.float32(), 8), 2)
    tower = SavedModelServable("user_tower", 3, world.serving_dir / "user_tower" / "3")
    rows = table.to_pylist()
    assert {row["user_id"] for row in rows} == world.histories.keys() - {"unknown"}
    for row in rows:
        history = world.histories[row["user_id"]]
        outputs = tower.predict_default({"history_item_ids": pad_strings([history])})
        for name in ("user_vectors", "interest_weights", "num_known", "num_unknown"):
            np.testing.assert_allclose(row[name], outputs[name][0], rtol=1e-5, atol=1e-6)
    assert (counts["answered"], counts["fallback"]) == (len(world.histories) - 1, 1)
    with_all = jobs.JobOptions(world.serving_dir, tmp_path / "all")
    jobs.write_user_vectors(jobs.Users(world.source()), EmbedUsers(skip_unknown=False), with_all)
    assert read(tmp_path / "all").num_rows == len(world.histories)


def test_vectors_of_items_are_those_of_the_index(world, vectors, tmp_path):
    options = jobs.JobOptions(world.serving_dir, tmp_path / "items.parquet", rows_per_file=7)
    jobs.write_item_vectors(None, EmbedItems(), options)
    table = read(tmp_path / "items.parquet")
    assert table["item_id"].to_pylist() == [f"i{row}" for row in range(NUM_ITEMS)]
    assert table.schema.field("item_vector").type == pa.list_(pa.float32(), 8)
    np.testing.assert_array_equal(np.stack(table["item_vector"].to_pylist()), vectors)


def test_an_output_of_one_thing_is_not_replaced_by_another(world, tmp_path):
    recommend(world, tmp_path / "recs.parquet")
    options = jobs.JobOptions(world.serving_dir, tmp_path / "recs.parquet")
    with pytest.raises(InputError, match="was made by `recall recommend`, not by `recall embed`"):
        jobs.write_item_vectors(None, EmbedItems(), options)
    jobs.write_item_vectors(None, EmbedItems(), options._replace(overwrite=True))
    assert read(tmp_path / "recs.parquet").num_rows == NUM_ITEMS


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"interest_weights": (1.0, 2.0, 3.0)}, "one number for each of 2 interests"),
        ({"categories": ("pink",)}, "names what is no category of this release: 'pink'"),
        ({"merge": "diversity", "max_per_category": 1}, "cannot be combined"),
    ],
)
def test_wrong_fields_are_refused_before_anything_is_read(world, tmp_path, wanted, message):
    with pytest.raises(InputError, match=message):
        recommend(world, tmp_path / "recs", RecommendUsers(7, wanted, False, True))
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_no_category_are_told_of(world, tmp_path, caplog):
    fields = {"exclude_categories": ("pink", COLOURS[0])}
    recommend(world, tmp_path / "recs", RecommendUsers(7, fields, False, True))
    assert "`exclude_categories` names what is no category of this release: 'pink'" in caplog.text


def test_a_log_that_cannot_be_read_is_one_line(world, tmp_path):
    log = tmp_path / "events.csv"
    log.write_text("user_id,item_id,timestamp\nu1,i1,yesterday\n")
    source = open_events(str(log))
    with pytest.raises(InputError, match="yesterday"):
        jobs.write_recommendations(
            jobs.Users(source), PLAIN, jobs.JobOptions(world.serving_dir, tmp_path / "recs")
        )
    assert [path.name for path in tmp_path.iterdir()] == ["events.csv"]


def test_nobody_of_the_file_is_in_the_log_and_left_out(world, tmp_path):
    chosen = write_ids(tmp_path / "users.csv", "user_id", ["x", "y"])
    counts = recommend(world, tmp_path / "recs", RecommendUsers(7, {}, True, True), chosen)
    assert read(tmp_path / "recs").num_rows == 0
    assert (counts["without_events"], counts["answered"], counts["items"]) == (2, 0, 0)


def test_a_history_beyond_a_servers_limit_is_known_whole(world, client, tmp_path):
    history = ["i59", *(f"i{n % 40}" for n in range(10_500))]
    log = tmp_path / "events.csv"
    lines = [f"robot,{item},{1_700_000_000 + n}" for n, item in enumerate(history)]
    log.write_text("\n".join(["user_id,item_id,timestamp", *lines]) + "\n")
    options = jobs.JobOptions(world.serving_dir, tmp_path / "recs.parquet")
    jobs.write_recommendations(jobs.Users(open_events(str(log))), PLAIN, options)
    (row,) = read(tmp_path / "recs.parquet").to_pylist()
    # A server takes 10,000 clicks; the model looks at five, and i59 was the first of all.
    answer = client.recommend(history[-9000:], k=7, exclude=("i59",))
    assert_equal_lists(row["recommendations"], answer)
    assert (row["num_known"], row["num_unknown"]) == (10_501, 0)
