"""Examples of the cases: made of the log that is named, read as it says, or refused."""

import itertools
import json

import pytest

from pipelines.artifacts import records
from pipelines.experiments import preparing
from pipelines.experiments.grids import catalogue
from pipelines.experiments.grids.grid import Arm, Case, Experiment, Options
from pipelines.experiments.outcomes import run_files
from pipelines.experiments.outcomes.measures import Measured
from pipelines.experiments.preparing import Reading
from pipelines.sources.events import EventColumns
from recall.errors import InputError


def write(path, step=1, users="user_id", bad="", start=1):
    """Three users with twelve clicks each."""
    rows = [f"u{u},i{(step * t + u) % 7},{start + t}" for t in range(12) for u in range(3)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"{users},item_id,timestamp", *rows, bad]))
    return path


def experiment_of(*logs, noise=None):
    cases = tuple(Case(log.stem, str(log), ("ingest.protocol=next_n",), noise) for log in logs)
    return Experiment("tiny", "Why?", cases, (Arm("one"),), (1,), (), ("recall@10",))


def prepare(experiment, folder, *reading):
    preparing.prepare_cases(experiment, experiment.runs(), folder, *reading)


@pytest.mark.parametrize("noise", [None, 0.5])
def test_examples_of_another_log_are_not_taken(tmp_path, noise):
    experiment = experiment_of(write(tmp_path / "a" / "mine.csv"), noise=noise)
    prepare(experiment, tmp_path / "out")
    prepare(experiment, tmp_path / "out")  # The same log again is one that is there.

    other = experiment_of(write(tmp_path / "b" / "mine.csv", step=2), noise=noise)
    with pytest.raises(InputError, match=r"was made from another log than .*b/mine\.csv is now"):
        prepare(other, tmp_path / "out")
    (tmp_path / "b" / "mine.csv").unlink()
    prepare(other, tmp_path / "out")  # Where there is no log nothing can be compared.


def test_a_log_that_was_moved_is_the_same(tmp_path):
    log = write(tmp_path / "a" / "mine.csv")
    before, after = experiment_of(log), experiment_of(tmp_path / "b" / "mine.csv")
    prepare(before, tmp_path / "out")
    run = next(before.runs())
    folder = run_files.folder_of(tmp_path / "out", run)
    run_files.write(folder, run_files.settings_of(before, run), Measured({}, {}), {})

    write(tmp_path / "b" / "mine.csv")
    log.unlink()

    prepare(after, tmp_path / "out")
    assert run_files.is_finished(tmp_path / "out", after, next(after.runs()))


def test_no_log_is_ingested_before_all_are_found(tmp_path):
    experiment = experiment_of(write(tmp_path / "mine.csv"), tmp_path / "gone.csv")
    with pytest.raises(InputError, match=r"gone\.csv is neither a file nor a folder"):
        prepare(experiment, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("noise", [None, 0.0])
def test_own_logs_are_read_as_the_flags_say(tmp_path, noise):
    log = write(tmp_path / "mine.csv", users="visitor", bad=",i1,5")
    experiment = experiment_of(log, noise=noise)
    columns = {"columns": EventColumns("visitor")}
    with pytest.raises(InputError, match="lacks the column 'user_id'"):
        prepare(experiment, tmp_path / "out")
    with pytest.raises(InputError, match="--max_bad_rows"):
        prepare(experiment, tmp_path / "out", Reading(columns))

    prepare(experiment, tmp_path / "out", Reading(columns, max_bad_rows=1))

    examples = run_files.examples_dir(tmp_path / "out", next(experiment.runs()))
    report = json.loads((examples / records.INGEST_REPORT_NAME).read_text())
    assert report["kept"]["users"] == 3


def test_examples_have_times_for_all_where_one_recipe_wants_them(tmp_path):
    experiment = experiment_of(write(tmp_path / "mine.csv", start=1_700_000_000))
    arms = (Arm("without"), Arm("with", ("model.time_bias=true",)))
    both = experiment._replace(arms=arms)
    preparing.check(both)
    without, with_times = both.runs()
    prepare(both, tmp_path / "out")
    for run in (without, with_times):
        examples = run_files.examples_dir(tmp_path / "out", run)
        assert records.read_record(examples)["settings"]["model"]["time_bias"] is True
    prepare(experiment, tmp_path / "plain")
    plain = run_files.examples_dir(tmp_path / "plain", next(experiment.runs()))
    assert "time_bias" not in records.read_record(plain)["settings"]["model"]


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("train.seed=5", r"--set=train\.seed is what --seeds is for"),
        (
            "model.extractor=capsule",
            r"=model\.extractor=capsule would change nothing: every recipe of extractors has",
        ),
        ("evaluation.ks=[10]", r"evaluation\.ks lacks 50, which extractors measures at"),
    ],
)
def test_settings_without_effect_and_without_metrics_are_refused(setting, error):
    with pytest.raises(InputError, match=error):
        preparing.check(catalogue.build("extractors", Options(settings=(setting,))))
    preparing.check(catalogue.build("extractors", Options(settings=("evaluation.ks=[10, 50]",))))


def test_a_planted_log_keeps_its_categories_under_noise(tmp_path):
    """Two categories of 20 items each: without them there is no diversity."""
    log = "synthetic:users=9,items=40,interests=2,interests_per_user=1,events_per_user=20"
    case = Case("planted", log, ("ingest.protocol=next_n",), 0.5)
    experiment = Experiment("tiny", "Why?", (case,), (Arm("one"),), (1,), (), ("recall@10",))
    prepare(experiment, tmp_path)
    examples = run_files.examples_dir(tmp_path, next(experiment.runs()))
    categories = records.read_vocabulary(examples).categories
    assert {len(of_item) for of_item in categories} == {1}
    assert len({*itertools.chain(*categories)}) == 2
