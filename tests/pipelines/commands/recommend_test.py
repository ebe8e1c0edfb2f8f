"""`recall recommend`, `similar` and `embed` as commands: results, and refusals in one line."""

import pyarrow.parquet as pq
import pytest

from pipelines import cli
from serving import server_process
from tests.serving import category_release


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A release in serving/, a log and files of ids; do not change them."""
    folder = tmp_path_factory.mktemp("commands")
    category_release.write_release(folder / "serving", 3)
    lines = ["user_id,item_id,timestamp"]
    lines += [f"u{user},i{user + n},{1_700_000_000 + n}" for user in range(9) for n in range(4)]
    lines.append("lost,gone,1700000000")
    (folder / "events.csv").write_text("\n".join(lines) + "\n")
    (folder / "users.csv").write_text("user_id\nu1\nlost\nnobody\n")
    (folder / "items.csv").write_text("item_id\ni4\ngone\n")
    return folder


@pytest.fixture(autouse=True)
def _threads_as_they_are(monkeypatch):
    monkeypatch.setattr(server_process, "prepare_products", lambda: None)


def run(folder, command, *words):
    return cli.main([command, f"--release={folder / 'serving'}", *words])


def test_recommendations_for_a_log(folder, tmp_path, capsys):
    words = (f"--events={folder / 'events.csv'}", "--k=5", "--exclude=i30,i31")
    words += ("--exclude_categories=red", f"--output={tmp_path / 'recs'}")
    assert run(folder, "recommend", *words) == 0
    printed = capsys.readouterr().out
    assert printed == (
        f"{tmp_path / 'recs'}: 10 users, 5 items each; 1 user without a known item got popular "
        "items; 1 of 37 clicks is of no item of the release\n"
    )
    rows = pq.read_table(tmp_path / "recs" / "data").to_pylist()
    assert len(rows) == 10
    for row in rows:
        items = {item["item_id"] for item in row["recommendations"]}
        assert len(items) == 5
        assert not items & {"i30", "i31"}
        # Every third item is red, from i2 on.
        assert all(int(item[1:]) % 3 != 2 for item in items)
    # Given again, it does nothing, and says the same.
    assert run(folder, "recommend", *words) == 0
    assert capsys.readouterr().out == printed


def test_conditions_on_items_beside_those_on_rows_of_the_log(folder, tmp_path):
    output = tmp_path / "recs.parquet"
    words = (f"--events={folder / 'events.csv'}", "--where=user_id=u1|u2", "--k=5")
    words += ('--items_where={"categories": "red"}', "--noexclude_seen", f"--output={output}")
    assert run(folder, "recommend", *words) == 0
    rows = pq.read_table(output).to_pylist()
    assert {row["user_id"] for row in rows} == {"u1", "u2"}
    for row in rows:
        items = [item["item_id"] for item in row["recommendations"]]
        assert [int(item[1:]) % 3 for item in items] == [2] * 5

    output = tmp_path / "boosted.parquet"
    words = (*words[:3], '--boosts=[{"where": {"categories": "red"}, "add": 10}]')
    assert run(folder, "recommend", *words, f"--output={output}") == 0
    for row in pq.read_table(output).to_pylist():
        assert all(int(item["item_id"][1:]) % 3 == 2 for item in row["recommendations"])


def test_users_of_a_file_with_what_they_have_seen(folder, tmp_path, capsys):
    output = tmp_path / "recs.parquet"
    words = (f"--events={folder / 'events.csv'}", f"--users={folder / 'users.csv'}", "--k=60")
    words += ("--noexclude_seen", "--noreasons", "--unknown_users=skip", f"--output={output}")
    assert run(folder, "recommend", *words) == 0
    assert capsys.readouterr().out == (
        f"{output}: 1 user, 60 items each; 2 users without a known item left out; 1 of these has "
        "no events in the log; 1 of 5 clicks is of no item of the release\n"
    )
    (row,) = pq.read_table(output).to_pylist()
    assert row["user_id"] == "u1"
    assert len(row["recommendations"]) == 60
    assert "because" not in row["recommendations"][0]


def test_users_with_their_histories(folder, tmp_path, capsys):
    histories = tmp_path / "histories.jsonl"
    rows = ('{"user_id": "a", "clicks": ["i1", "gone"]}', '{"user_id": "b", "clicks": []}')
    histories.write_text("\n".join(rows) + "\n")
    words = (f"--users={histories}", "--history_column=clicks")
    output = tmp_path / "recs.parquet"
    assert run(folder, "recommend", *words, "--k=5", f"--output={output}") == 0
    assert capsys.readouterr().out == (
        f"{output}: 2 users, 5 items each; 1 user without a known item got popular items; 1 of "
        "these has an empty history; 1 of 2 clicks is of no item of the release\n"
    )
    first, second = pq.read_table(output).to_pylist()
    assert (first["user_id"], first["is_fallback"], second["is_fallback"]) == ("a", False, True)
    assert "i1" not in [item["item_id"] for item in first["recommendations"]]
    output = tmp_path / "vectors.parquet"
    assert run(folder, "embed", *words, f"--output={output}") == 0
    assert pq.read_table(output)["user_id"].to_pylist() == ["a"]


def test_similar_items_of_a_file(folder, tmp_path, capsys):
    output = tmp_path / "similar.parquet"
    words = (f"--items={folder / 'items.csv'}", "--k=3", f"--output={output}")
    assert run(folder, "similar", *words) == 0
    assert capsys.readouterr().out == (
        f"{output}: 1 item, 3 similar ones each; 1 of the ids is no item of the release\n"
    )
    (row,) = pq.read_table(output).to_pylist()
    assert row["item_id"] == "i4"
    assert len(row["similar_items"]) == 3
    assert "i4" not in [item["item_id"] for item in row["similar_items"]]


def test_vectors_of_users_and_of_items(folder, tmp_path, capsys):
    output = tmp_path / "users"
    words = (f"--events={folder / 'events.csv'}", f"--output={output}")
    assert run(folder, "embed", *words) == 0
    assert capsys.readouterr().out == (
        f"{output}: 9 users; 1 user without a known item left out; 1 of 37 clicks is of no item "
        "of the release\n"
    )
    assert pq.read_table(output / "data").num_rows == 9
    output = tmp_path / "items.parquet"
    assert run(folder, "embed", "--items=all", f"--output={output}") == 0
    assert capsys.readouterr().out == f"{output}: 60 items\n"
    assert pq.read_table(output).num_rows == 60


def test_a_name_that_no_item_has_is_a_line_and_no_error(folder, tmp_path, capsys):
    words = (f"--events={folder / 'events.csv'}", f"--output={tmp_path / 'recs'}")
    words += ('--items_where={"categories": ["red", "Red"]}',)
    assert run(folder, "recommend", *words) == 0
    output, errors = capsys.readouterr()
    assert "No item has the categories 'Red': it counts for nothing." in errors
    assert "items each" in output


@pytest.mark.parametrize(
    ("command", "words", "code", "message"),
    [
        ("recommend", ["--events=none.csv"], 1, "none.csv does not exist"),
        ("recommend", ["--events={log}", "--k=1001"], 2, "k"),
        ("recommend", ["--events={log}", "--interest_weights=1,x"], 1, "must be numbers"),
        ("recommend", ["--events={log}", "--interest_weights=1"], 1, "each of 2 interests"),
        ("recommend", ["--events={log}", "--merge=best"], 1, "must be one of max_score"),
        ("recommend", ["--events={log}", "--categories=pink"], 1, "no category of this release"),
        (
            "recommend",
            ["--events={log}", "--items_where=red"],
            1,
            "--items_where is not valid JSON",
        ),
        (
            "recommend",
            ["--events={log}", '--items_where={{"colour": "red"}}'],
            1,
            "`items_where` has 'colour', which this release does not declare",
        ),
        (
            "recommend",
            ["--events={log}", '--items_where={{"price": {{"above": 1}}}}'],
            1,
            "--items_where.price must be a value",
        ),
        ("similar", ["--where=red"], 1, "error: --where is not valid JSON"),
        ("similar", ['--where={{"colour": "red"}}'], 1, "error: `where` has 'colour', which"),
        ("recommend", ["--events={log}", "--users=none.csv"], 1, "none.csv does not exist"),
        ("recommend", ["--events={log}", "--users={items}"], 1, "lacks the column 'user_id'"),
        ("recommend", ["--events={log}", "--unknown_users=all"], 2, "one of popular, skip"),
        ("recommend", ["--events={log}", "--release=none"], 1, "--release=none is no folder"),
        ("recommend", ["--events={log}", "--release={here}"], 1, "holds no release"),
        (
            "recommend",
            [],
            2,
            "error: Give --events=LOG, or --users=FILE with a history for each user",
        ),
        (
            "recommend",
            ["--users=all"],
            2,
            "error: Give --events=LOG, or --users=FILE with a history",
        ),
        ("recommend", ["--users={users}"], 1, "users.csv has no lists of item ids"),
        ("recommend", ["--users="], 1, "Give a path, or all"),
        ("recommend", ["--users={users}", "--where=a=b"], 2, "--where is about a log"),
        ("recommend", ["--events={log}", "--history_column=x"], 2, "has no meaning with --events"),
        ("similar", ["--items="], 1, "Give a path, or all"),
        ("similar", ["--items={users}"], 1, "lacks the column 'item_id'"),
        ("embed", [], 2, "Give --events=LOG, --users=FILE with histories or --items=all"),
        ("embed", ["--users=all"], 2, "error: Give --events=LOG, or --users=FILE with a history"),
        ("embed", ["--items=all", "--users={users}"], 2, "one of them"),
        ("embed", ["--items=all", "--history_column=x"], 2, "has no meaning with --items"),
        ("embed", ["--items=all", "--events={log}"], 2, "one of them"),
    ],
)
def test_what_is_wrong_is_one_line(folder, tmp_path, capsys, command, words, code, message):
    names = {"log": folder / "events.csv", "items": folder / "items.csv"}
    names |= {"users": folder / "users.csv", "here": tmp_path}
    words = [word.format(**names) for word in words]
    assert run(folder, command, f"--output={tmp_path / 'out'}", *words) == code
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith(f"recall {command}: error:")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
