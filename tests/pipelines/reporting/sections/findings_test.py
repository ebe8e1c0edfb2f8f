"""Warnings in words: each said where it holds, and nowhere else."""

import dataclasses
from pathlib import Path

import pytest

from pipelines.reporting.sections import findings
from pipelines.reporting.sections.run_folder import RunFolder


def interest(clicks, alone=0.1):
    return {"share_of_clicks": clicks, "recall_alone": alone}


def make_run(**parts):
    """A run about which nothing is to be said, but for the given parts."""
    run = RunFolder(
        name="run",
        directory=Path("run"),
        records={},
        made={},
        ingest_report={"lines": ["Read 10 events."]},
        statistics={"num_items": 100, "unknowns": {"items_never_in_training": 4}},
        vocabulary=None,
        epochs=[{"epoch": 1, "val_ndcg@10": 0.2}, {"epoch": 2, "val_ndcg@10": 0.19}],
        warm_start=None,
        config={"train": {"max_epochs": 10}},
        validation=None,
        evaluation={
            "validation": {"standard_errors": {"ndcg@10": 0.01}},
            "test": {},
            "protocol": {"ks": [10]},
        },
        details={
            "k": 10,
            "recall": 0.2,
            "interests": [interest(0.6), interest(0.4)],
            "exposure": {
                "items": [10] * 10,
                "targets": [30, 70] + [0] * 8,
                "slots": {"model": [33, 67] + [0] * 8},
            },
        },
        users=None,
        index=None,
        version=None,
    )
    return dataclasses.replace(run, **parts)


def changed(name, **values):
    return {name: getattr(make_run(), name) | values}


def test_nothing_is_said_of_a_good_run():
    assert findings.find(make_run()) == []


def test_a_run_without_anything_is_no_reason_to_fail():
    empty = dict.fromkeys(("ingest_report", "statistics", "config", "evaluation", "details"))
    assert findings.find(make_run(**empty, epochs=[])) == []


@pytest.mark.parametrize(
    ("parts", "beginning"),
    [
        (
            changed("details", interests=[interest(0.97), interest(0.01), interest(0.02)]),
            "Interests 1 (1.0 %), 2 (2.0 %) of 3 win almost no clicks.",
        ),
        (
            changed("details", interests=[interest(0.96), interest(0.04)]),
            "Interest 1 (4.0 %) of 2 wins almost no clicks.",
        ),
        (
            changed("details", interests=[interest(0.5, 0.199), interest(0.5)]),
            "Interest 0 alone finds as much as all 2 (recall@10 0.1990 against 0.2000)",
        ),
        (
            changed(
                "details",
                exposure={
                    "items": [10] * 10,
                    "targets": [30, 70] + [0] * 8,
                    "slots": {"model": [45, 55] + [0] * 8},
                },
            ),
            "Popularity bias: the most clicked tenth of the catalogue fills 45.0 % of the lists, "
            "while 30.0 % of the next clicks",
        ),
        (
            {"epochs": [{"epoch": n, "val_ndcg@10": v} for n, v in ((1, 0.2), (2, 0.179))]},
            "Over-fitting: after epoch 1 of 2 the training loss went on falling while validation "
            "ndcg@10 fell from 0.2000 to 0.1790.",
        ),
        (
            {"epochs": [{"epoch": 1, "val_ndcg@10": 0.1}], "config": {"train": {"max_epochs": 1}}},
            "The last of 1 epochs is the best one",
        ),
        (
            changed("statistics", unknowns={"items_never_in_training": 20}),
            "20 of 100 items (20.0 %) were never clicked in training",
        ),
        (
            {
                "validation": {
                    "checks": [
                        {"name": "new_items", "value": 0.5, "limit": None, "holds": True},
                        {"name": "gone_items", "value": 0.5, "limit": ["max", 0.1], "holds": False},
                    ]
                }
            },
            "The log is not fit to be trained on: gone_items is 0.5 (validation.max_gone_items",
        ),
        (
            {"ingest_report": {"lines": ["Read 10 events.", "Warning: 3 ids are odd."]}},
            "3 ids are odd.",
        ),
    ],
)
def test_what_stands_out_is_said(parts, beginning):
    (line,) = findings.find(make_run(**parts))
    assert line.startswith(beginning)


@pytest.mark.parametrize(
    ("config", "num_lines"),
    [
        ({"model": {"use_categories": True}}, 0),
        ({"features": {"columns": [{"name": "price", "owner": "item"}]}}, 0),
        ({"features": {"columns": [{"name": "age", "owner": "user"}]}}, 1),
    ],
)
def test_items_without_clicks_have_vectors_of_their_features(config, num_lines):
    parts = changed("statistics", unknowns={"items_never_in_training": 20})
    parts |= changed("config", **config)
    assert len(findings.find(make_run(**parts))) == num_lines


def test_one_interest_is_not_idle():
    parts = changed("details", interests=[interest(1.0, 0.2)])
    assert findings.find(make_run(**parts)) == []
