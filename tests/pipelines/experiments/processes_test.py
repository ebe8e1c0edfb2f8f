"""Runs as processes: at a time, on GPUs in turn, within a time, ended with their caller."""

import subprocess
import sys

import pytest

from pipelines.experiments import preparing, runner
from pipelines.experiments.grids import catalogue
from pipelines.experiments.grids.grid import Arm, Case, Experiment, Options
from pipelines.experiments.outcomes import run_files
from pipelines.experiments.outcomes.measures import Measured
from pipelines.processes import jobs
from recall.errors import InputError


def experiment_of(num_arms):
    arms = tuple(Arm(f"arm{n}") for n in range(num_arms))
    case = Case("log", "synthetic:users=9,items=9,interests=3")
    return Experiment("tiny", "Why?", (case,), arms, (1,), (), ("recall@10",))


@pytest.fixture
def started(monkeypatch):
    """What was started, by processes that do what `program` says."""
    calls, program = [], ["pass"]

    def start(words, *, variables=None, **options):
        calls.append((words, variables))
        options = {"stdout": subprocess.PIPE, **options}
        return subprocess.Popen([sys.executable, "-c", program[0]], **options)

    monkeypatch.setattr(jobs, "start", start)
    return calls, program


def test_gpus_are_given_in_turn(started, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    runs = list(experiment_of(4).runs())
    runner.in_processes(["experiment", "tiny"], tmp_path, 2)(runs)
    calls, _ = started
    assert [words[-1] for words, _ in calls] == [f"--run=log/arm{n}/seed_1" for n in range(4)]
    given = [variables["CUDA_VISIBLE_DEVICES"] for _, variables in calls]
    assert given[:2] == ["3", "5"]
    assert set(given) == {"3", "5"}


def test_one_gpu_stays_as_it_is(started, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    runner.in_processes(["experiment"], tmp_path, 2)(list(experiment_of(2).runs()))
    assert [variables for _, variables in started[0]] == [None, None]


def test_no_run_begins_when_the_time_is_over(started, tmp_path):
    runner.in_processes(["experiment"], tmp_path, 1, max_minutes=-1)(list(experiment_of(3).runs()))
    assert started[0] == []


def test_a_mistake_of_a_run_is_the_line_of_all(started, tmp_path):
    started[1][0] = "import sys; sys.exit('recall experiment: error: The log is empty.')"
    with pytest.raises(InputError, match=r"^The log is empty\.$"):
        runner.in_processes(["experiment"], tmp_path, 1)(list(experiment_of(2).runs()))
    assert len(started[0]) == 1


def test_runs_that_go_on_end_with_a_failed_one(started, tmp_path):
    """The first waits for a minute; the second fails at once."""
    started[1][0] = (
        "import sys, os, time\n"
        "mine = os.path.realpath('/proc/self/fd/2')\n"
        "time.sleep(60) if 'arm0' in mine else sys.exit(3)"
    )
    with pytest.raises(RuntimeError, match="ended with exit code 3"):
        runner.in_processes(["experiment"], tmp_path, 2)(list(experiment_of(2).runs()))


def test_examples_that_are_there_need_no_log(tmp_path, monkeypatch):
    """A machine that trains has copies of the examples and nothing else."""
    experiment = experiment_of(1)
    run = next(experiment.runs())
    made = preparing.prepare(experiment, run, tmp_path)
    gone = run._replace(case=run.case._replace(log="no/such/log.csv"))
    assert preparing.prepare(experiment, gone, tmp_path) == made
    other = experiment._replace(settings=("ingest.min_user_events=3",))
    with pytest.raises(InputError, match=r"no/such/log\.csv is neither a file"):
        preparing.prepare(other, gone, tmp_path)


def test_every_experiment_is_listed_and_its_settings_are_good(monkeypatch):
    """Also without the logs: only who ingests needs them."""
    monkeypatch.delenv("RECALL_DATA_DIR", raising=False)
    assert set(catalogue.SUMMARIES) == set(catalogue.BUILDERS)
    for name in catalogue.BUILDERS:
        experiment = catalogue.build(name, Options(num_seeds=2))
        assert experiment.name == name
        preparing.check(experiment)
        assert {run.seed for run in experiment.runs()} == {1, 2}
    with pytest.raises(InputError, match=r"no experiment 'noice'\. There are: seq2seq"):
        catalogue.build("noice", Options())


def test_a_run_of_an_earlier_version_counts(tmp_path):
    """It lacks a setting that came later, whose default is what it was made with."""
    experiment = experiment_of(1)
    run = next(experiment.runs())
    settings = run_files.settings_of(experiment, run)
    del settings["loss"]["reverse_future"]
    run_files.write(run_files.folder_of(tmp_path, run), settings, Measured({}, {}), {})
    assert run_files.is_finished(tmp_path, experiment, run)
    other = experiment._replace(settings=("loss.reverse_future=false",))
    with pytest.raises(InputError, match=r"loss\.reverse_future=True, not False"):
        run_files.is_finished(tmp_path, other, run)
