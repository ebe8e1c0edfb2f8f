"""The card of a model: the same numbers as JSON and as Markdown, and no markup of the data."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from pipelines.reporting import model_card
from recall.errors import InputError


def read(run_dir):
    """The card as values, and its Markdown."""
    files = model_card.texts_of(run_dir)
    assert {*files} == {"model_card.json", "model_card.md"}
    return json.loads(files["model_card.json"]), files["model_card.md"]


def test_both_files_say_the_same(evaluated_run):
    card, text = read(evaluated_run)
    report = json.loads((evaluated_run / "evaluation" / "report.json").read_text())
    recall = card["evaluation"]["metrics"]["model"]["recall@10"]
    assert recall["value"] == pytest.approx(report["test"]["recall@10"], abs=1e-6)
    assert recall["low"] < recall["value"] < recall["high"]
    cell = f"{recall['value']:.4f} ({recall['low']:.4f} to {recall['high']:.4f})"
    assert f"| recall@10 | {cell} |" in text
    assert "| users | 60 |" in text


def test_it_has_slices_limits_and_provenance(evaluated_run):
    card, text = read(evaluated_run)
    groups = card["evaluation"]["slices"]["category_of_the_item"]
    assert {group["group"] for group in groups} == {"blue", "green", "<b>red</b>"}
    assert sum(group["clicks"] for group in groups) == 60
    assert any(line.startswith("Few users: 60 validation users") for line in card["limits"])
    assert card["provenance"]["jobs"]["train"]["settings"]["model"]["dim"] == 8
    assert card["provenance"]["fingerprint"] in text


def test_names_of_the_data_are_no_marks(evaluated_run):
    _, text = read(evaluated_run)
    assert "<b>" not in text
    assert r"\<b\>red\</b\>" in text


def test_the_same_run_has_the_same_card(evaluated_run):
    assert model_card.texts_of(evaluated_run) == model_card.texts_of(evaluated_run)


def test_an_old_run_has_a_card_with_gaps(old_run):
    card, text = read(old_run)
    assert card["evaluation"]["slices"] == {}
    assert "low" not in card["evaluation"]["metrics"]["model"]["recall@10"]
    assert "### Slices\n\nNot recorded." in text


def test_a_run_with_a_release_alone_has_a_card(old_run):
    for part in ("examples", "model"):
        shutil.rmtree(old_run / part)
    card, text = read(old_run)
    assert (card["model"], card["data"]) == (None, None)
    assert text.count("Not recorded.") == 3


def test_no_run_has_no_card(tmp_path):
    with pytest.raises(InputError, match="holds no finished job"):
        model_card.texts_of(tmp_path)


def test_the_users_of_the_evaluation_are_those_of_the_card(evaluated_run):
    users = pq.read_table(evaluated_run / "evaluation" / "users.parquet")
    card, _ = read(evaluated_run)
    lengths = card["evaluation"]["slices"]["history_length"]
    assert sum(group["users"] for group in lengths) == users.num_rows == 60
