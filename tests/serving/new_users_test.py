"""A user without clicks gets what people like her click: trained, exported, asked at a server."""

import itertools
import json

import numpy as np
import pytest

from pipelines import cli
from pipelines.clients import query
from serving.api import client
from serving.server import RecallServer
from tests.serving.http_calls import post

COUNTRIES = {"NL": [f"n{i}" for i in range(6)], "DE": [f"d{i}" for i in range(14)]}
"""Who lives where clicks items of there alone; one item of DE is the most popular of all."""

SETTINGS = (
    "ingest.num_shards=1",
    "ingest.new_user_share=0.2",
    "model.dim=16",
    "model.num_blocks=1",
    "model.feed_forward_dim=16",
    "model.num_interests=2",
    "model.max_history_length=8",
    "train.max_epochs=12",
    "train.jit_compile=false",
    "train.batch_slots=128",
    "loss.num_negatives=20",
    "index.kind=exact",
    "evaluation.ks=[5]",
    "evaluation.thresholds=[]",
    'features.columns=[{"name": "country", "owner": "user", "kind": "categorical"}]',
)


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new")
    random = np.random.default_rng(0)
    events, users = ["user_id,item_id,timestamp"], ["user_id,country"]
    for number, country in zip(range(240), itertools.cycle(("DE", "NL", "DE")), strict=False):
        users.append(f"u{number},{country}")
        clicks = random.choice(COUNTRIES[country], size=5, replace=False)
        events += [f"u{number},{item},{at}" for at, item in enumerate(clicks)]
    (folder / "events.csv").write_text("\n".join(events) + "\n")
    (folder / "users.csv").write_text("\n".join(users) + "\n")
    words = ["run", f"--events={folder}/events.csv", f"--users={folder}/users.csv"]
    words += [f"--output={folder}/run", *(f"--set={setting}" for setting in SETTINGS)]
    assert cli.main(words) == 0
    return folder / "run"


def said(country):
    return {"history": [], "k": 5, "context": {"country": country}}


@pytest.mark.slow
def test_somebody_without_clicks_is_answered_from_her_features(folder):
    with RecallServer(folder / "serving", grpc_port=0, http_port=0) as server:
        answers = {name: post(server, "/recall", said(name)) for name in COUNTRIES}
        unheard = post(server, "/recall", said("unheard"))
        flags = {"history": [], "k": 5, "context": '{"country": "NL"}'}
        by_command = client.query(server.grpc_address, query.build_request(flags))
    for name, answer in answers.items():
        assert not answer["is_fallback"]
        found = {item["item_id"] for item in answer["items"]}
        assert len(found & set(COUNTRIES[name])) >= 4, (name, found)
    assert unheard["is_fallback"]
    assert [i.item_id for i in by_command.items] == [i["item_id"] for i in answers["NL"]["items"]]


@pytest.mark.slow
def test_the_evaluation_tells_how_well(folder, capsys):
    report = json.loads((folder / "evaluation" / "report.json").read_text())
    found = report["new_users"]
    assert 30 < found["num_users"] < 70
    recalls = {name: values["recall@5"] for name, values in found["rankers"].items()}
    assert list(recalls) == ["features", "popularity", "clicks"]
    # Of 6 items of NL 5 are named, of 14 of DE 5: (1/3 * 5/6 + 2/3 * 5/14) = .52.
    assert recalls["features"] > 1.3 * recalls["popularity"]
    assert recalls["features"] > 0.35
    assert sum(b["num_clicks"] for b in report["items"]["by_clicks"].values()) == 240
    assert list(report["items"]["by_age"]) == ["missing"]
    assert (
        "Users with features whose clicks training has not seen"
        in (folder / "report.html").read_text()
    )
