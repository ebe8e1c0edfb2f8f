"""From a log to answers over both doors, through the real command in real processes."""

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from pipelines import cli
from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.release import release

RECALL = (sys.executable, "-m", "pipelines.cli")
SETTINGS = (
    "train.max_epochs=2",
    "train.batch_size=64",
    "model.dim=8",
    "model.num_interests=2",
    "model.num_blocks=1",
    "model.num_heads=1",
    "model.feed_forward_dim=8",
    "model.max_history_length=8",
    "loss.num_negatives=16",
    'evaluation.thresholds=["test.ndcg@10 > 0"]',
)
JOBS = ("ingest", "validate", "train", "evaluate", "export", "index")
TIMEOUT_S = 240


def run_words(log_dir: Path, output_dir: Path, *more: str) -> list[str]:
    return [
        "run",
        f"--events={log_dir / 'events.csv'}",
        f"--items={log_dir / 'items.csv'}",
        f"--output={output_dir}",
        *(f"--set={setting}" for setting in SETTINGS),
        *more,
    ]


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    words = ["--users=120", "--items=40", "--interests=4", "--events_per_user=10"]
    assert cli.main(["synthesize", f"--output={folder}", "--format=csv", *words]) == 0
    return folder


@pytest.fixture(scope="module")
def runs(log_dir, tmp_path_factory):
    """A run killed while it trains, then the same command again; the second one's output."""
    output_dir = tmp_path_factory.mktemp("runs") / "mine"
    words = [*RECALL, *run_words(log_dir, output_dir)]
    killed = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    for line in killed.stderr:
        if "[3/7] train" in line:
            break
    killed.kill()
    killed.wait()
    killed.stderr.close()
    assert records.read_record(output_dir / "examples") is not None
    assert records.read_record(output_dir / "model") is None
    result = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert result.returncode == 0, result.stderr
    return output_dir, result


@pytest.fixture(scope="module")
def output_dir(runs):
    return runs[0]


@pytest.fixture(scope="module")
def server(output_dir):
    """Addresses of a `recall serve` process: gRPC and HTTP."""
    words = [f"--release={output_dir / 'serving'}", "--grpc_port=0", "--http_port=0"]
    process = subprocess.Popen([*RECALL, "serve", *words], stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    match = re.fullmatch(r"serving grpc=(\S+) http=(\S+)\n", line)
    assert match, line
    yield match.groups()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    process.stdout.close()


@pytest.fixture(scope="module")
def vocabulary(output_dir):
    return records.read_vocabulary(RunPaths.under(output_dir).examples)


@pytest.fixture(scope="module")
def trained(output_dir):
    from pipelines.artifacts import trained_model

    return trained_model.load_model(RunPaths.under(output_dir).model)


def numpy_recall(trained, vocabulary, history, k, exclude=()):
    """Exact search over the trained model itself: (item ids, scores), best first."""
    dense = np.zeros((1, trained.config.model.max_history_length), np.int64)
    known = vocabulary.to_dense(h for h in history if h in vocabulary)
    known = known[-dense.shape[1] :]
    dense[0, : len(known)] = known
    user_vectors = trained.model.user_tower(dense).user_vectors.numpy()[0]
    item_vectors = trained.model.item_tower(np.arange(2, 2 + vocabulary.num_items)).numpy()
    scores = (item_vectors @ user_vectors.T).max(axis=1)
    removed = {*history, *exclude}
    order = [r for r in np.argsort(-scores) if vocabulary.item_ids[r] not in removed][:k]
    return [vocabulary.item_ids[row] for row in order], scores[order]


# ---- the run ---------------------------------------------------------------


def test_a_killed_run_resumes_where_it_stopped(runs):
    _, result = runs
    for number, job in enumerate(JOBS[:2], 1):
        assert re.search(rf"\[{number}/7\] {job} +up to date", result.stderr), job
    for number, job in enumerate(JOBS[2:], 3):
        assert re.search(rf"\[{number}/7\] {job} +done in \d+\.\d s", result.stderr), job
    assert re.search(r"\[7/7\] push +done, version \d+", result.stderr)
    assert "Traceback" not in result.stderr


def test_a_run_ends_with_its_numbers_and_the_next_command(runs):
    output_dir, result = runs
    for text in ("popularity", "bigram", "ndcg@10", "recall@100 against exact search"):
        assert text in result.stdout
    assert f"serve --release={output_dir}/serving" in result.stdout.splitlines()[-1]


def test_stderr_holds_progress_and_nothing_else(runs):
    _, result = runs
    noise = [
        line
        for line in result.stderr.splitlines()
        if line.strip() and not re.match(r"\d\d:\d\d:\d\d ", line)
    ]
    assert noise == []


def test_every_artifact_is_there_and_nothing_half_written(output_dir):
    paths = RunPaths.under(output_dir)
    for job, path in zip(JOBS, paths, strict=False):
        assert records.require(path, job)["job"] == job
    assert (paths.evaluation / "BLESSED").exists()
    assert not list(output_dir.rglob("*.partial"))


def test_the_report_has_every_part(output_dir):
    report = json.loads((output_dir / "evaluation" / "report.json").read_text())
    parts = {
        "validation": report["validation"],
        "test": report["test"],
        "popularity": report["baselines"]["popularity"],
        "bigram": report["baselines"]["bigram"],
    }
    for name, metrics in parts.items():
        for k in (5, 10, 20, 50):
            for metric in ("recall", "hit_rate", "ndcg", "mrr"):
                assert 0 <= metrics[f"{metric}@{k}"] <= 1, (name, metric, k)
    assert report["index"]["recall@100"] >= 0.95
    assert report["index"]["num_items"] == 40


def test_the_run_ends_with_a_page_about_it(output_dir):
    page = (output_dir / "report.html").read_text()
    version = release.latest_release(output_dir / "serving").version
    report = json.loads((output_dir / "evaluation" / "report.json").read_text())
    assert f"blessed and published as version {version}" in page
    assert f"{report['test']['ndcg@10']:.4f}" in page
    assert 'class="missing">Clicks over time' not in page
    assert page.count("<h3>User u") == 12


def test_the_release_has_a_model_card(output_dir):
    published = release.latest_release(output_dir / "serving")
    release.verify(published)
    card = json.loads((published.user_tower_dir / "model_card.json").read_text())
    assert card["provenance"]["fingerprint"] == published.fingerprint
    assert card["data"]["items"] == 40


def test_the_index_job_alone_adds_to_the_report_and_is_quiet(output_dir, tmp_path, capfd):
    paths = RunPaths.under(output_dir)
    evaluation = shutil.copytree(paths.evaluation, tmp_path / "evaluation")
    report = json.loads((evaluation / "report.json").read_text())
    (evaluation / "report.json").write_text(json.dumps(report | {"index": None}))
    words = [f"--{name}={getattr(paths, name)}" for name in ("export", "examples")]
    words += [f"--output={tmp_path / 'index'}", f"--evaluation={evaluation}"]
    assert cli.main(["index", *words, "--set=index.kind=scann"]) == 0
    added = json.loads((evaluation / "report.json").read_text())["index"]
    assert (added["kind"], added["num_items"]) == ("scann", 40)
    assert added["recall@100"] >= 0.95
    # ScaNN's own log would be lines of another form.
    reason, line = capfd.readouterr().err.splitlines()
    assert re.match(r"\d\d:\d\d:\d\d Index: ScaNN .* exact search takes .* CPU-ms", reason)
    assert re.match(r"\d\d:\d\d:\d\d Wrote .*index: scann, 40 items, recall@100", line)


def test_the_same_command_again_does_nothing(log_dir, output_dir, capsys):
    before = release.latest_release(output_dir / "serving")
    assert cli.main(run_words(log_dir, output_dir)) == 0
    text = capsys.readouterr().err
    for number, job in enumerate((*JOBS, "push"), 1):
        assert re.search(rf"\[{number}/7\] {job} +up to date", text), text
    assert release.latest_release(output_dir / "serving") == before
    assert len(list((output_dir / "serving" / "index").glob("[0-9]*"))) == 1


def test_another_log_in_the_same_folder_is_refused(log_dir, output_dir, tmp_path, capsys):
    events = tmp_path / "events.csv"
    events.write_text((log_dir / "events.csv").read_text() + "u1,i1,9999999999\n")
    words = [w for w in run_words(log_dir, output_dir) if not w.startswith("--events=")]
    assert cli.main([*words, f"--events={events}"]) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "--overwrite" in text
    assert str(output_dir) in text


def test_the_demo_report_shows_histories_interests_and_metrics(output_dir, capsys):
    assert cli.main(["demo", f"--run={output_dir}", "--users=2"]) == 0
    text = capsys.readouterr().out
    assert text.count("User u") == 2
    assert re.search(r"interest \d: \w+", text)
    assert "ndcg@10" in text
    assert text.rstrip().endswith("--grpc_port=8500 --http_port=8501")


# ---- the answers -----------------------------------------------------------

HISTORIES = (("i1", "i2", "i3"), ("i7",), tuple(f"i{n}" for n in range(10, 22)), ("zzz", "i5"))


@pytest.mark.parametrize("history", HISTORIES)
def test_both_doors_answer_as_exact_search_in_numpy(server, trained, vocabulary, history):
    expected_ids, expected_scores = numpy_recall(trained, vocabulary, history, k=9)
    for address in (server[0], f"http://{server[1]}"):
        answer = client.query(address, RecallRequest(history, k=9), timeout_s=30)
        assert [item.item_id for item in answer.items] == expected_ids
        np.testing.assert_allclose([i.score for i in answer.items], expected_scores, atol=1e-5)
        assert answer.is_fallback is False
        assert answer.num_known == sum(h in vocabulary for h in history)
        assert answer.num_unknown == len(history) - answer.num_known


def test_excluded_items_do_not_come_back(server, trained, vocabulary):
    first = client.query(server[0], RecallRequest(("i1", "i2"), k=3), timeout_s=30)
    excluded = tuple(item.item_id for item in first.items)
    expected, _ = numpy_recall(trained, vocabulary, ("i1", "i2"), 5, excluded)
    answer = client.query(
        server[0], RecallRequest(("i1", "i2"), k=5, exclude=excluded), timeout_s=30
    )
    assert [item.item_id for item in answer.items] == expected


def test_a_new_visitor_gets_popular_items(server, vocabulary):
    for address in (server[0], f"http://{server[1]}"):
        answer = client.query(address, RecallRequest(("nobody", "knows"), k=4), timeout_s=30)
        assert answer.is_fallback
        assert answer.num_unknown == 2
        assert [item.item_id for item in answer.items] == list(vocabulary.item_ids[:4])


def test_the_query_command_prints_the_items(server, capsys):
    assert cli.main(["query", f"--server={server[0]}", "--history=i1,i2", "--k=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["rank", "item", "score", "interest"]
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_a_refused_query_is_one_line(server, door, capsys):
    address = server[0] if door == "grpc" else f"http://{server[1]}"
    assert cli.main(["query", f"--server={address}", "--history=i1", "--k=100000"]) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "`k` must be in [1, 1000], received 100000" in text
    assert "100000" in text


def test_the_exported_tower_in_a_fresh_process_equals_the_trained_model(
    server, trained, vocabulary
):
    history = ["i1", "i9", "i4"]
    url = f"http://{server[1]}/v1/models/user_tower:predict"
    body = json.dumps({"inputs": {"history_item_ids": [history]}}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as response:
        outputs = json.load(response)["outputs"]
    dense = np.zeros((1, trained.config.model.max_history_length), np.int64)
    dense[0, :3] = vocabulary.to_dense(history)
    expected = trained.model.user_tower(dense)
    np.testing.assert_allclose(outputs["user_vectors"], expected.user_vectors, atol=1e-5)
    np.testing.assert_allclose(outputs["interest_weights"], expected.interest_weights, atol=1e-5)


def test_a_port_in_use_is_one_line(server, output_dir, capsys):
    port = server[0].rpartition(":")[2]
    words = [f"--release={output_dir / 'serving'}", f"--grpc_port={port}", "--http_port=0"]
    assert cli.main(["serve", *words]) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert port in text


# ---- a model that is not good enough; changes the run, so it comes last ------


def test_an_unblessed_model_is_not_published(log_dir, output_dir, capsys):
    published = release.latest_release(output_dir / "serving")
    words = run_words(log_dir, output_dir, '--set=evaluation.thresholds=["test.ndcg@10 > 0.999"]')
    assert cli.main(words) == 1
    captured = capsys.readouterr()
    assert re.search(r"\[3/7\] train +up to date", captured.err)
    last = captured.err.splitlines()[-1]
    assert last.startswith("recall run: error: ")
    assert "bless" in last
    assert "ndcg@10" in captured.out
    assert (output_dir / "evaluation" / "NOT_BLESSED").exists()
    assert "not blessed: not to be published" in (output_dir / "report.html").read_text()
    assert release.latest_release(output_dir / "serving") == published
