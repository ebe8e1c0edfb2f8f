"""`recall tensorboard`: the real TensorBoard, asked over HTTP for all that it should show."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from pipelines import cli
from pipelines.artifacts import records, trained_model
from pipelines.evaluation import vectors
from pipelines.inspection import board, projector
from pipelines.training.trainer import train_and_evaluate
from recall.config import RecallConfig
from recall.vocabulary import ItemVocabulary

ROOT = Path(__file__).parents[3]
NUM_ITEMS = 12
CONFIG = RecallConfig().override(
    [
        "model.dim=8",
        "model.num_interests=2",
        "model.num_blocks=1",
        "model.num_heads=1",
        "model.feed_forward_dim=8",
        "model.max_history_length=7",
        "loss.num_negatives=4",
        "train.max_epochs=2",
    ]
)


@pytest.fixture(scope="module", name="run_dir")
def fixture_run_dir(tmp_path_factory, examples_writer):
    """A folder with a finished training of items that have titles and categories."""
    root = tmp_path_factory.mktemp("a run")
    examples = root / "examples"
    sequences = [[(user + step) % NUM_ITEMS for step in range(6)] for user in range(20)]
    examples_writer(examples, sequences, NUM_ITEMS, 7)
    records.write_vocabulary(
        examples,
        ItemVocabulary(
            [f"i{number}" for number in range(NUM_ITEMS)],
            counts=range(NUM_ITEMS, 0, -1),
            categories=[("odd" if number % 2 else "even", "all") for number in range(NUM_ITEMS)],
            titles=["", "a\ttitle\nof two lines", *(f"title {n}" for n in range(2, NUM_ITEMS))],
        ),
    )
    train_and_evaluate(CONFIG, examples, root / "model")
    return root


class Board:
    """The command as a process of its own."""

    def __init__(self, *flags):
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "tensorboard", "--port=0", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", self.line)
        assert found, self.process.communicate()
        self.address = found.group()

    def get(self, path, **query):
        url = f"{self.address}data/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=30)


def test_the_real_tensorboard_shows_the_run(run_dir):
    shown = Board(f"--run={run_dir}", "--max_items=5")
    try:
        log = (run_dir / "model/training_log.jsonl").read_text().splitlines()
        first = json.loads(log[0])
        assert json.loads(shown.get("runs")) == ["training"]
        for tag, name in (
            ("loss/seq2item", "seq2item"),
            ("validation/ndcg@10", "val_ndcg@10"),
            ("interests_clicks/interest_1", "val_interest_1"),
            ("interests_gradients/interest_0", "gradient_0"),
        ):
            answer = json.loads(shown.get("plugin/scalars/scalars", run="training", tag=tag))
            assert [row[1] for row in answer] == [1, 2]
            assert answer[0][2] == pytest.approx(first[name], abs=1e-5)
        (text,) = json.loads(shown.get("plugin/text/text", run="training", tag="config"))
        assert "<td>model.num_interests</td>" in text["text"]
        layout = json.loads(shown.get("plugin/custom_scalars/layout"))
        assert [chart["multiline"]["tag"] for chart in layout["category"][0]["chart"]] == [
            ["interests_clicks/.*"],
            ["interests_gradients/.*"],
            ["loss/.*"],
        ]
        check_projector(shown, run_dir)
    finally:
        out, error = shown.stop()
    assert shown.process.returncode == 0
    assert out == ""
    assert [line[9:] for line in error.splitlines()] == [
        "The projector has 5 items (the most clicked of 12; --max_items shows more).",
        "Stopped.",
    ]


def check_projector(shown, run_dir):
    (run,) = json.loads(shown.get("plugin/projector/runs"))
    info = json.loads(shown.get("plugin/projector/info", run=run))
    assert info["embeddings"][0]["tensorShape"] == [5, 8]
    tensor = shown.get("plugin/projector/tensor", run=run, name="items")
    trained = trained_model.load_model(run_dir / "model")
    np.testing.assert_allclose(
        np.frombuffer(tensor, np.float32).reshape(5, 8),
        vectors.compute_item_vectors(trained.model, NUM_ITEMS)[:5],
        rtol=1e-4,
    )
    metadata = shown.get("plugin/projector/metadata", run=run, name="items").decode()
    assert metadata.splitlines()[:3] == [
        "title\titem_id\tfirst_category\tcategories\ttraining_clicks",
        "i0\ti0\teven\teven|all\t12",
        "a title of two lines\ti1\todd\todd|all\t11",
    ]
    assert len(metadata.splitlines()) == 6


def test_a_training_that_runs_has_curves_and_no_items(tmp_path, caplog):
    model_dir = tmp_path / "model"
    (model_dir / "logs" / "training").mkdir(parents=True)
    (model_dir / "started.json").write_text("{}")
    assert board.find_model(tmp_path) == board.find_model(model_dir) == model_dir
    board.prepare(model_dir, 10)
    assert "not finished" in caplog.text
    assert not (model_dir / "logs" / "projector").exists()


def test_the_projector_is_written_again(run_dir):
    trained = trained_model.load_model(run_dir / "model")
    logs = run_dir / "model" / "logs"
    assert projector.write_projector(trained, logs, 100) == NUM_ITEMS
    assert projector.write_projector(trained, logs, 3) == 3
    assert len((logs / "projector" / "vectors.tsv").read_text().splitlines()) == 3
    assert not list(logs.glob(".*"))


@pytest.mark.slow
def test_a_taken_port_is_one_line(run_dir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = [sys.executable, "-m", "pipelines.cli", "tensorboard", f"--port={port}"]
        words += [f"--run={run_dir}", "--max_items=0"]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        run = subprocess.run(words, env=env, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == (
        f"recall tensorboard: error: Cannot listen on 127.0.0.1:{port}: the port is taken, or not "
        "allowed. Name another in --port; 0 picks a free one.\n"
    )


def test_a_folder_without_a_training(tmp_path, capsys):
    assert cli.main(["tensorboard", f"--run={tmp_path}"]) == 1
    assert "holds no training" in capsys.readouterr().err
