"""Lists of another system: read, turned into rows, measured by the same protocol."""

import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import cli
from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation.external import given_lists
from pipelines.evaluation.user_results import UserResults
from recall.errors import InputError
from recall.ragged import Ragged
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary

VOCABULARY = ItemVocabulary(["a", "b", "c", "d"])


def users(*rows):
    """Held-out users with (id, history rows, positive rows)."""
    names = np.array([name.encode() for name, _, _ in rows], object)
    histories, positives = (
        Ragged.from_rows([np.asarray(row[place]) + FIRST_ITEM_ID for row in rows])
        for place in (1, 2)
    )
    return HeldOutUsers(names, histories, positives)


def write_lines(path, *rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def test_lines_of_json_are_read(tmp_path):
    path = write_lines(
        tmp_path / "lists.jsonl", {"user_id": 7, "items": ["b", 12]}, {"user_id": "8", "items": []}
    )
    assert given_lists.read_lists(str(path)) == {"7": ["b", "12"], "8": []}


def test_parquet_is_read_also_that_of_recommend(tmp_path):
    plain = pa.table({"user_id": ["7"], "items": [["b", "a"]]})
    pq.write_table(plain, tmp_path / "plain.parquet")
    scored = [{"item_id": "b", "score": 0.5}, {"item_id": "a", "score": 0.1}]
    pq.write_table(
        pa.table({"user_id": ["7"], "recommendations": [scored]}), tmp_path / "ours.parquet"
    )
    for name in ("plain", "ours"):
        assert given_lists.read_lists(str(tmp_path / f"{name}.parquet")) == {"7": ["b", "a"]}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", r"has no lists\. Parquet has the columns user_id and items"),
        ("[1]", r"Line 1 of .* no object with the keys 'user_id' and 'items'"),
        ('{"user_id": "7", "items": "b"}', r"Line 1 of .*: 'items' is no list of item ids"),
        ('{"user_id": "7", "items": [1.5]}', r"'items' holds 1\.5; ids are texts"),
        ('{"items": ["b"]}', r"Line 1 of .* no object with the keys"),
        ('{"user_id": "7", "items": [{"id": "b"}]}', r"'items' has an empty item id"),
        ("{]", r"Line 1 of .* is no JSON"),
        (
            '{"user_id": "7", "items": []}\n{"user_id": 7, "items": []}',
            r"lists\.jsonl: user '7' has two lists",
        ),
    ],
)
def test_lists_of_another_form_are_one_line(tmp_path, text, error):
    path = tmp_path / "lists.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=error):
        given_lists.read_lists(str(path))


def test_parquet_of_other_columns_is_said(tmp_path):
    pq.write_table(pa.table({"user": ["7"]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"lacks the column 'user_id'; its columns are: 'user'"):
        given_lists.read_lists(str(tmp_path / "x.parquet"))
    (tmp_path / "y.parquet").write_bytes(b"no")
    with pytest.raises(InputError, match="is not a whole Parquet file"):
        given_lists.read_lists(str(tmp_path / "y.parquet"))
    with pytest.raises(InputError, match="does not exist"):
        given_lists.read_lists(str(tmp_path / "z.parquet"))


def test_a_pattern_and_a_store(tmp_path, s3, bucket):
    for user in "78":
        write_lines(tmp_path / f"{user}.jsonl", {"user_id": user, "recommendations": [user]})
        s3.put(f"{bucket}/x/{user}.jsonl", (tmp_path / f"{user}.jsonl").read_bytes())
    for place in (f"{tmp_path}/*.jsonl", str(tmp_path), f"{bucket}/x"):
        assert given_lists.read_lists(place) == {"7": ["7"], "8": ["8"]}


def test_seen_and_repeated_items_go_unknown_ones_keep_their_place(caplog):
    held_out = users(("7", [0], [1]), ("8", [2], [1]), ("9", [2], [1]))
    lists = {"7": ["a", "x", "b", "b", "c", "d"], "8": ["b"], "other": ["a"]}
    with caplog.at_level(logging.WARNING):
        rows = given_lists.to_rows(lists, held_out, VOCABULARY, 3, exclude_seen=True)
    assert rows.tolist() == [[-1, 1, 2], [1, -1, -1], [-1, -1, -1]]
    assert "1 of 3 test users have no list" in caplog.text
    rows = given_lists.to_rows(lists, held_out, VOCABULARY, 3, exclude_seen=False)
    assert rows[0].tolist() == [0, -1, 1]


def test_lists_of_other_users_are_said():
    with pytest.raises(
        InputError, match="No test user has a list; there should be one of user '7'"
    ):
        given_lists.to_rows({"x": []}, users(("7", [0], [1])), VOCABULARY, 3, exclude_seen=True)


def test_lists_without_a_known_item_are_said():
    held_out = users(("7", [0], [1]), ("8", [2], [1]))
    with pytest.raises(
        InputError, match=r"list of user '8' begins with '12', ids of the log are such as 'a'"
    ):
        given_lists.to_rows({"8": ["12"]}, held_out, VOCABULARY, 3, exclude_seen=True)


def test_unknown_items_and_short_lists_are_told(caplog):
    held_out = users(("7", [0], [1]), ("8", [2], [1]))
    whole = {"7": ["b", "c", "d"], "8": ["a", "b", "d"]}  # All but what they have seen.
    with caplog.at_level(logging.WARNING):
        given_lists.to_rows(whole, held_out, VOCABULARY, 50, exclude_seen=True)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        given_lists.to_rows(
            {**whole, "8": ["c", "x", "b"]}, held_out, VOCABULARY, 3, exclude_seen=True
        )
    unknown, short = (record.getMessage() for record in caplog.records)
    assert unknown.startswith("1 of 5 places hold items that the catalogue does not have")
    assert short.startswith(
        "1 of 2 lists have fewer than the 3 items that are measured, the shortest 2"
    )


@pytest.mark.parametrize("name", ["lists.json", "lists.csv", "lists"])
def test_files_of_another_kind_are_told_which_there_are(tmp_path, name):
    (tmp_path / name).write_text("user_id,items\n")
    with pytest.raises(InputError, match=r"no lists of item ids\. Give Parquet or JSON lines"):
        given_lists.read_lists(str(tmp_path / name))


def test_the_command_measures_lists(examples_writer, tmp_path, capsys):
    """Ten users who all click the item after their last one; the lists say so for half of them."""
    sequences = [[(start + step) % 12 for step in range(5)] for start in range(10)]
    examples_writer(tmp_path / "examples", sequences, 12, 8)
    rows = [
        {"user_id": f"u{user}", "items": [f"i{(start + 4) % 12}" if user % 2 else "i99"]}
        for user, start in enumerate(range(10))
    ]
    lists = write_lines(tmp_path / "lists.jsonl", *rows)
    output = tmp_path / "theirs"
    words = ["evaluate", f"--examples={tmp_path / 'examples'}", f"--output={output}"]
    options = ["--set=evaluation.ks=[1, 5]", '--set=evaluation.extra_baselines=["item_knn","ease"]']
    assert cli.main([*words, f"--lists={lists}", "--set=evaluation.thresholds=[]", *options]) == 0
    report = json.loads((output / "report.json").read_text())
    assert report["test"]["recall@1"] == 0.5
    assert report["test"]["hit_rate@5"] == 0.5
    assert set(report["baselines"]) == {"popularity", "bigram", "item_knn", "ease"}
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split() == [
        *("test", "users", "lists", "popularity", "bigram", "item_knn", "ease")
    ]
    assert "The model" not in shown
    assert "Early stopping" not in shown
    kept = UserResults.read(output / "users.parquet")
    assert kept.user_metrics("model", [1])["recall@1"].total() == 0.5
    assert not list(output.glob("*BLESSED"))


def test_lists_are_runs_that_can_be_compared(examples_writer, tmp_path, capsys):
    """Both find the clicks of every other user, `more` those of five of the rest too."""
    sequences = [[(start + step) % 12 for step in range(5)] for start in range(40)]
    examples_writer(tmp_path / "examples", sequences, 12, 8)
    for name, found in (("few", {0}), ("more", {0, 1})):
        rows = [
            {"user_id": f"u{n}", "items": [f"i{(n + 4) % 12}" if n % 4 in found else "i99"]}
            for n in range(40)
        ]
        lists = write_lines(tmp_path / f"{name}.jsonl", *rows)
        words = [f"--examples={tmp_path / 'examples'}", f"--output={tmp_path / 'runs' / name}"]
        assert cli.main(["evaluate", *words, f"--lists={lists}", "--set=evaluation.ks=[10]"]) == 0
    capsys.readouterr()

    assert cli.main(["runs", str(tmp_path / "runs")]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        *("run", "few", "more")
    ]
    assert cli.main(["runs", str(tmp_path / "runs"), "--compare=few,more", "--format=json"]) == 0
    told = json.loads(capsys.readouterr().out)["differences"]["recall@10"]["more"]
    # A share of .25 of 40 users has a standard error of .0685.
    assert told["value"] == pytest.approx(0.25)
    assert told["low"] == pytest.approx(0.25 - 1.96 * 0.0685, abs=0.04)
    assert told["high"] == pytest.approx(0.25 + 1.96 * 0.0685, abs=0.04)

    assert cli.main(["report", f"--run={tmp_path / 'runs' / 'few'}"]) == 1
    assert "has lists of another system, of which there is no" in capsys.readouterr().err


def test_a_model_or_lists(capsys, tmp_path):
    words = ["evaluate", f"--examples={tmp_path}", f"--output={tmp_path / 'x'}"]
    assert cli.main(words) == 2
    assert "Give --model or --lists" in capsys.readouterr().err
