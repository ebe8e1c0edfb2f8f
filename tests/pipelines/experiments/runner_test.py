"""An experiment from its grid to its results: made, stopped, gone on with, refused."""

import io
import json
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import tensorflow as tf

from pipelines.experiments import one_run, runner
from pipelines.experiments.grids import seq2seq
from pipelines.experiments.grids.grid import Arm, Case, Experiment, Options, choose_arms
from pipelines.experiments.outcomes import results, run_files, tables
from recall.errors import InputError

TINY = (
    "model.dim=8",
    "model.num_interests=2",
    "model.num_blocks=1",
    "model.feed_forward_dim=8",
    "train.max_epochs=1",
)
LOG = "synthetic:users=60,items=40,interests=4,interests_per_user=2,events_per_user=20"
METRICS = ("hit_rate@50", "recall@10", "diversity@10", "coverage@10")


def experiment_of(seeds, *settings):
    return Experiment(
        "tiny",
        "Does a loss help?",
        (Case("planted", LOG, ("ingest.protocol=next_n",)),),
        (Arm("without", ("loss.seq2seq_weight=0",)), Arm("with", ())),
        seeds,
        (*TINY, *settings),
        METRICS,
    )


def making(experiment, folder, log):
    """Makes runs in this process."""

    def make_runs(runs):
        for run in runs:
            log.append(run.key)
            one_run.make(experiment, run, folder)

    return make_runs


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a finished experiment of one seed, and which runs were made."""
    folder, keys = tmp_path_factory.mktemp("experiment"), []
    experiment = experiment_of((1,))
    runner.run_experiment(experiment, folder, making(experiment, folder, keys))
    return folder, keys


def test_every_run_of_the_grid_is_made_once(made):
    folder, keys = made
    assert keys == ["planted/without/seed_1", "planted/with/seed_1"]
    experiment, again = experiment_of((1,)), []
    found = runner.run_experiment(experiment, folder, making(experiment, folder, again))
    assert again == []
    assert found["num_runs"] == 2


def test_results_are_those_of_the_users(made):
    """Means and differences again, from the files of the runs."""
    folder, _ = made
    found = json.loads((folder / "results.json").read_text())
    (case,) = found["cases"]
    assert case["seeds"] == [1]
    totals = []
    for name in ("without", "with"):
        with np.load(folder / "runs" / "planted" / name / "seed_1" / "users.npz") as arrays:
            gains, weights = arrays["gains:hit_rate@50"], arrays["weights:hit_rate@50"]
            assert len(gains) == case["num_users"]
            assert weights.tolist() == [5.0] * len(weights)
            totals.append(gains.sum() / weights.sum())
    without, with_ = case["arms"]
    assert without["metrics"]["hit_rate@50"]["value"] == pytest.approx(totals[0])
    assert found["versions"]["tensorflow"] == tf.__version__
    assert case["devices"] == ["GPU" if tf.config.list_physical_devices("GPU") else "CPU"]
    assert "differences" not in without
    difference = with_["differences"]["hit_rate@50"]
    assert difference["value"] == pytest.approx(totals[1] - totals[0])
    assert difference["low"] <= difference["value"] <= difference["high"]


def test_a_table_and_a_drawing_are_written(made):
    folder, _ = made
    text = (folder / "results.md").read_text()
    assert "| hit_rate@50 | " in text
    assert "`loss.seq2seq_weight=0`" in text
    drawing = " ".join(ET.parse(folder / "results.svg").getroot().itertext())
    assert "hit_rate@50, difference from without" in drawing


def test_models_go_and_settings_stay(made):
    folder, _ = made
    run = folder / "runs" / "planted" / "with" / "seed_1"
    assert not (run / "model").exists()
    facts = json.loads((run / "run.json").read_text())
    assert facts["settings"]["loss"]["seq2seq_weight"] == 0.02
    assert facts["settings"]["train"]["seed"] == 1
    assert facts["num_epochs"] == 1


def test_runs_of_other_settings_are_not_mixed(made):
    folder, _ = made
    experiment = experiment_of((1,), "model.dropout_rate=0.5")
    with pytest.raises(InputError, match=r"has model.dropout_rate=None, not 0.5. Choose another"):
        runner.run_experiment(experiment, folder, making(experiment, folder, []))


@pytest.mark.slow
def test_a_stopped_experiment_shows_whole_seeds_and_goes_on(made, tmp_path):
    folder, _ = made
    experiment, keys = experiment_of((1, 2)), []

    def stop(runs):
        one_run.make(experiment, runs[0], folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run_experiment(experiment, folder, stop)
    found = runner.write_results(experiment, folder)
    assert found["num_runs"] == 3
    assert found["cases"][0]["seeds"] == [1]
    found = runner.run_experiment(experiment, folder, making(experiment, folder, keys))
    assert keys == ["planted/with/seed_2"]
    assert found["cases"][0]["seeds"] == [1, 2]
    by_seed = found["cases"][0]["arms"][1]["metrics"]["recall@10"]["by_seed"]
    assert np.mean(by_seed) == pytest.approx(
        found["cases"][0]["arms"][1]["metrics"]["recall@10"]["value"]
    )


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    """Another byte in the name of the first array."""
    return content[:40] + bytes([content[40] ^ 255]) + content[41:]


def shorten(content):
    """Fewer users."""
    with np.load(io.BytesIO(content)) as arrays:
        fewer = {name: arrays[name][:3] for name in arrays.files}
    stream = io.BytesIO()
    np.savez(stream, **fewer)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "damage", "error"),
    [
        ("users.npz", lambda _: b"", r"Cannot read .*users\.npz: "),
        ("users.npz", lambda _: b"nothing", r"Cannot read .*users\.npz: "),
        ("users.npz", cut, r"Cannot read .*users\.npz: "),
        ("users.npz", flip, r"Cannot read .*users\.npz: "),
        ("users.npz", shorten, r"users\.npz is not of \d+ users"),
        ("run.json", lambda _: b"", r"run\.json is not valid JSON"),
        ("run.json", lambda _: b"[]", r"run\.json lacks 'settings'"),
        ("run.json", lambda _: b"{}", r"run\.json lacks 'settings'"),
        ("run.json", lambda c: c.replace(b'"values"', b'"v"'), r"run\.json lacks 'values'"),
    ],
)
def test_a_damaged_run_is_said_in_one_line(made, tmp_path, name, damage, error):
    folder, _ = made
    shutil.copytree(folder, tmp_path / "copy")
    experiment = experiment_of((1,))
    run = run_files.folder_of(tmp_path / "copy", next(experiment.runs()))
    (run / name).write_bytes(damage((run / name).read_bytes()))
    with pytest.raises(InputError, match=error) as caught:
        runner.write_results(experiment, tmp_path / "copy")
    assert str(caught.value).endswith(f"Remove {run} and give the command again.")
    assert "\n" not in str(caught.value)


def test_runs_of_other_users_are_not_compared(made):
    folder, _ = made
    experiment = experiment_of((1,))
    first, second = (run_files.read(folder, run) for run in experiment.runs())
    second = second._replace(facts={**second.facts, "num_users": 3})
    with pytest.raises(InputError, match="The runs of planted are of different users"):
        results.summarise(experiment, [first, second])


def test_nothing_finished_is_said(tmp_path):
    with pytest.raises(InputError, match="has no finished run of tiny"):
        runner.write_results(experiment_of((1,)), tmp_path)


def test_arms_read_the_same_examples(tmp_path):
    experiment = experiment_of((1,))._replace(
        arms=(Arm("a"), Arm("b", ("model.max_history_length=9",)))
    )
    with pytest.raises(InputError, match="Arm b changes what examples are made with"):
        runner.run_experiment(experiment, tmp_path, lambda runs: None)


def test_arms_of_more_than_two_are_lines(made):
    folder, _ = made
    experiment = experiment_of((1,))
    finished = [run_files.read(folder, run) for run in experiment.runs()]
    third = Arm("again", ("loss.seq2seq_weight=0",))
    again = finished[0]._replace(run=finished[0].run._replace(arm=third))
    wide = experiment._replace(arms=(*experiment.arms, third))
    found = results.summarise(wide, [*finished, again])
    assert found["cases"][0]["arms"][2]["differences"]["recall@10"]["value"] == 0
    table = results.tables.rows(found, found["cases"][0])
    assert [row[0] for row in table] == ["arm", "without", "with", "again"]
    assert table[3][1].endswith("(+.0000 [+.0000, +.0000])")


def test_a_setting_that_one_recipe_rules_out_is_said_with_its_name():
    """A wrong setting of all runs is no recipe's fault."""
    overlap = ("loss.overlap_weight=0.1",)
    experiment = experiment_of((1,))._replace(
        arms=(Arm("all"), Arm("one", ("model.num_interests=1",))), settings=overlap
    )
    first, second = experiment.runs()
    assert experiment.config(first).loss.overlap_weight == 0.1
    with pytest.raises(
        InputError, match=r"The recipe one of tiny: Config key `loss\.overlap_weight` .* --arm\."
    ):
        experiment.config(second)
    wrong = experiment._replace(settings=("loss.overlap_weight=-1",))
    with pytest.raises(InputError, match=r"^Config key `loss\.overlap_weight` must be >= 0"):
        wrong.config(second)


def test_some_recipes_are_chosen_beside_the_first_one():
    experiment = experiment_of((1,))._replace(arms=(Arm("a"), Arm("b, c"), Arm("d")))
    assert [arm.name for arm in choose_arms(experiment, ["d"]).arms] == ["a", "d"]
    assert [arm.name for arm in choose_arms(experiment, ["b, c", "a"]).arms] == ["a", "b, c"]
    with pytest.raises(InputError, match=r"--arm=x: tiny has no such recipe\. It has: a; b, c; d"):
        choose_arms(experiment, ["x"])


def test_seq2seq_is_the_article_s_test():
    experiment = seq2seq.build(Options(("planted",), 2, 3, ("model.dim=16",)))
    first, second = list(experiment.runs())[:2]
    without, with_ = experiment.config(first), experiment.config(second)
    assert (without.ingest.protocol, without.ingest.num_targets) == ("next_n", 5)
    assert (without.loss.seq2seq_weight, with_.loss.seq2seq_weight) == (0, 0.02)
    assert (with_.train.max_epochs, with_.model.dim, with_.train.seed) == (3, 16, 1)
    assert without.override(["loss.seq2seq_weight=0.02"]) == with_


@pytest.mark.slow
def test_a_metric_that_one_recipe_lacks_has_no_difference(tmp_path):
    """Prototypes in use are of `routing` alone."""
    experiment = experiment_of((1,))._replace(
        arms=(Arm("dssrec"), Arm("routing", ("model.extractor=routing",)), Arm("again")),
        metrics=("recall@10", "interest_perplexity", "prototype_perplexity"),
    )
    found = runner.run_experiment(experiment, tmp_path, making(experiment, tmp_path, []))

    (case,) = found["cases"]
    head, without, with_, _ = tables.rows(found, case)
    assert head == ["arm", "recall@10", "interest_perplexity", "prototype_perplexity"]
    assert without[0] == "dssrec"
    assert without[3] == "-"
    assert 1 <= float(with_[3]) <= 8
    assert 1 <= float(without[2]) <= 2
