"""The search: trials of Optuna on one set of examples, kept in a journal that it resumes from."""

import json
import logging
import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from pipelines.tuning import results, trial_job
from pipelines.tuning.space import Dimension, assignment, default_of
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import folders, storage

JOURNAL_NAME, SETTINGS_NAME, BEST_NAME = "journal.log", "tuning.json", "best.json"
EXAMPLES, TRIALS = "examples", "trials"
_STUDY, _LOCK_NAME = "recall", ".lock"
_STARTUP_TRIALS, _WARMUP_EPOCHS = 5, 2
"""Trials before Optuna's model is asked and before one is given up, as its pruner's default; and
epochs before: the first ones say little."""

_MOST_REFUSED = 50
"""Trials in a row whose settings are refused, before the search is."""

_CONFIG_NAME = "config.json"
_OWN_NAMES = (
    JOURNAL_NAME,
    SETTINGS_NAME,
    BEST_NAME,
    EXAMPLES,
    TRIALS,
    _CONFIG_NAME,
    results.TABLE_NAME,
    results.PLOT_NAME,
)

_log = logging.getLogger(__name__)


def check_output(output_dir: Path) -> None:
    """Refuses a folder with anything that a search has not made.

    Raises:
        InputError: It is a file, or has other content.
    """
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"{output_dir} is a file. Name a folder.")
    names = sorted(p.name for p in output_dir.glob("*") if not p.name.startswith("."))
    others = [name for name in names if name not in _OWN_NAMES]
    if others:
        raise InputError(
            f"{output_dir} is not empty ({others[0]}) and was not made by `recall tune`. Choose "
            "another folder, or empty it first."
        )


class Budget(NamedTuple):
    """How long a search may take.

    Attributes:
        trials: Of the search in all, those of former calls counted.
        seconds: Of this call; infinite for no limit.
    """

    trials: int
    seconds: float = math.inf


def tune(
    output_dir: Path,
    config: RecallConfig,
    space: Sequence[Dimension],
    budget: Budget,
    *,
    seed: int = 1,
) -> list[results.TrialRow]:
    """Searches settings; examples are in `output_dir/examples`.

    What is raised is `train.stopping_metric`, so that a trial counts with the epoch that its
    training keeps. The first trial has the settings of `config`, where the space holds them. What
    was begun by a call that was interrupted is forgotten; finished trials stay. Settings that
    make no sense together are no trial.

    Returns:
        All finished trials, best first; also in `trials.json`, the best settings in `best.json`
        and the plot in `tuning.svg`.

    Raises:
        InputError: The folder is another search's, or in use, or no trial has an epoch, or hardly
            any settings of the space make sense together.
    """
    metric = config.train.stopping_metric
    busy = f"Another `recall tune` is working in {output_dir}. Wait for it to end."
    with folders.locked_folder(output_dir, _LOCK_NAME, busy=busy):
        _check_same_search(output_dir, config, space, metric)
        storage.write_json(output_dir / _CONFIG_NAME, config.to_dict())
        study = _open_study(output_dir, config, space, seed)
        _search(study, output_dir, config, space, budget)
        rows = results.rows_of(study)
        if not rows:
            raise InputError(
                "No trial has finished an epoch. Give more --minutes, or shorter epochs."
            )
        results.write(output_dir, rows, space, metric)
        best = config.override([assignment(n, v) for n, v in rows[0].settings.items()])
        storage.write_json(output_dir / BEST_NAME, best.to_dict())
    return rows


def _check_same_search(
    output_dir: Path, config: RecallConfig, space: Sequence[Dimension], metric: str
) -> None:
    """Refuses to mix trials that cannot be compared."""
    settings = {
        "metric": metric,
        "config": config.to_dict(),
        "space": [dimension._asdict() for dimension in space],
        "examples": storage.read_json(output_dir / EXAMPLES / "artifact.json"),
    }
    settings = json.loads(json.dumps(settings))
    path = output_dir / SETTINGS_NAME
    if path.exists() and (before := storage.read_json(path)) != settings:
        changed = next(name for name in settings if before.get(name) != settings[name])
        raise InputError(
            f"{output_dir} holds a search with another {changed}. Choose another --output, or give "
            "the same again."
        )
    storage.write_json(path, settings)


def _open_study(
    output_dir: Path, config: RecallConfig, space: Sequence[Dimension], seed: int
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=_STUDY,
        storage=JournalStorage(JournalFileBackend(str(output_dir / JOURNAL_NAME))),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(_STARTUP_TRIALS, _WARMUP_EPOCHS),
    )
    # A resumed search goes on with other numbers than it began with.
    study.sampler = optuna.samplers.TPESampler(
        seed=seed + len(study.trials), n_startup_trials=_STARTUP_TRIALS
    )
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    if not study.trials:
        defaults = {d.name: default_of(d, config) for d in space}
        study.enqueue_trial({d.name: defaults[d.name] for d in space if d.holds(defaults[d.name])})
    return study


def _search(
    study: optuna.Study,
    output_dir: Path,
    config: RecallConfig,
    space: Sequence[Dimension],
    budget: Budget,
) -> None:
    metric = config.train.stopping_metric
    deadline_s = time.monotonic() + budget.seconds
    while time.monotonic() < deadline_s:
        num_done = len(results.rows_of(study))
        if num_done >= budget.trials:
            return
        trial, texts = _ask(study, config, space)
        head = f"Trial {trial.number}, {num_done + 1} of {budget.trials}: "
        _log.info("%s", results.wrap(head + ", ".join(texts)))
        started_s = time.monotonic()
        result = _run(study, trial, output_dir, texts, metric, deadline_s)
        trial.set_user_attr("seconds", round(time.monotonic() - started_s, 1))
        _tell(study, trial, result, output_dir, metric)


def _ask(
    study: optuna.Study, config: RecallConfig, space: Sequence[Dimension]
) -> tuple[optuna.Trial, list[str]]:
    """The next trial and its settings, as `--set` takes them.

    Raises:
        InputError: Settings that make no sense together came again and again.
    """
    for _ in range(_MOST_REFUSED):
        trial = study.ask()
        settings = {dimension.name: _suggest(trial, dimension) for dimension in space}
        trial.set_user_attr("settings", settings)
        texts = [assignment(name, value) for name, value in settings.items()]
        try:
            config.override(texts)
        except InputError as error:
            # As one without hope, of which there should be no more; failed ones teach nothing.
            study.tell(trial, state=TrialState.PRUNED)
            refusal = str(error)
            _log.info("%s", results.wrap(f"Trial {trial.number} is left out: {refusal}"))
        else:
            return trial, texts
    raise InputError(
        f"{_MOST_REFUSED} times in a row --space gave settings that make no sense together: "
        f"{refusal}"
    )


def _run(
    study: optuna.Study,
    trial: optuna.Trial,
    output_dir: Path,
    texts: Sequence[str],
    metric: str,
    deadline_s: float,
) -> trial_job.TrialResult:
    def is_hopeless(epoch: int, value: float) -> bool:
        trial.report(value, epoch)
        return trial.should_prune()

    try:
        return trial_job.run_trial(
            output_dir / EXAMPLES,
            output_dir / TRIALS / f"{trial.number:04d}",
            output_dir / _CONFIG_NAME,
            texts,
            metric,
            deadline_s=deadline_s,
            is_hopeless=is_hopeless,
        )
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        raise


def _tell(
    study: optuna.Study,
    trial: optuna.Trial,
    result: trial_job.TrialResult,
    output_dir: Path,
    metric: str,
) -> None:
    """Counts a trial; of the models only the best one's stays."""
    folder = output_dir / TRIALS / f"{trial.number:04d}"
    if not result.values:
        study.tell(trial, state=TrialState.FAIL)
        shutil.rmtree(folder, ignore_errors=True)
        return
    best = max(result.values)
    trial.set_user_attr("epochs", len(result.values))
    trial.set_user_attr("was_cut", result.was_cut)
    # One that was cut counts with the best it had, as one that stopped by itself does.
    study.tell(trial, best)
    cut = ", cut" if result.was_cut else ""
    _log.info("  %s %.4f after %d epochs%s", metric, best, len(result.values), cut)
    for other in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if other.number != study.best_trial.number:
            shutil.rmtree(output_dir / TRIALS / f"{other.number:04d}", ignore_errors=True)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Any:
    if dimension.choices:
        return trial.suggest_categorical(dimension.name, list(dimension.choices))
    if dimension.is_whole:
        low, high = int(dimension.low), int(dimension.high)
        return trial.suggest_int(dimension.name, low, high, log=dimension.is_log)
    value = trial.suggest_float(dimension.name, dimension.low, dimension.high, log=dimension.is_log)
    # Nobody wants to type more digits; the ends of the range stay in it.
    return min(max(float(f"{value:.4g}"), dimension.low), dimension.high)
