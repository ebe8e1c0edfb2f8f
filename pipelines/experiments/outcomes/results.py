"""What came out of an experiment: `results.json`, a table, plots. Imports no TensorFlow."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.evaluation.intervals import Interval
from pipelines.experiments.grids.grid import Case, Experiment
from pipelines.experiments.outcomes import kept, paired, tables
from pipelines.experiments.outcomes.run_files import FinishedRun
from recall.errors import InputError
from serving.release import storage

RESULTS_NAME, TABLE_NAME, PLOT_NAME = "results.json", "results.md", "results.svg"
_FORMAT = 1

_log = logging.getLogger(__name__)


def write(
    output_dir: str | Path, experiment: Experiment, finished: Sequence[FinishedRun]
) -> dict[str, Any]:
    """Writes the results of the finished runs.

    Returns:
        Content of `results.json`.
    """
    output_dir = Path(output_dir)
    found = summarise(experiment, finished)
    storage.write_json(output_dir / RESULTS_NAME, found)
    storage.write_text(output_dir / TABLE_NAME, tables.markdown(found))
    _draw(found, output_dir / PLOT_NAME)
    return found


def _draw(found: dict[str, Any], path: Path) -> None:
    """Draws where the packages for it are installed: a machine that trains need not have them."""
    try:
        from pipelines.experiments.outcomes import plots
    except ModuleNotFoundError as error:
        _log.info("%s is not installed: --only_results draws elsewhere.", error.name)
        return
    plots.write(found, path)


def summarise(experiment: Experiment, finished: Sequence[FinishedRun]) -> dict[str, Any]:
    """Every metric of every case and arm, and how it differs from that of the first arm.

    A case counts with the seeds that all its arms are finished with.

    Args:
        experiment: Which runs there should be.
        finished: Those there are.

    Returns:
        Content of `results.json`. `cases` has one dict for each log: `name`, `seeds`,
        `num_users`, `num_positives` (held-out clicks), `counted` (metric -> users, where those
        are fewer), `devices`, `settings` and `arms`. An arm
        has `metrics`, name -> `value` (mean over the seeds), `by_seed`, and `low` and `high` or,
        of a run as a whole, `standard_deviation` (None of one seed); `differences` from the first
        arm alike, which that one lacks; `num_epochs`, `best_epochs` and `cpu_s`, one number for
        each seed. `kept` is that of `kept.measure_kept`.

    Raises:
        InputError: Runs of a case are of different users.
    """
    by_key = {one.run.key: one for one in finished}
    whole_cases: dict[Case, dict[int, list[FinishedRun]]] = {}
    for case in experiment.cases:
        runs = {
            seed: [
                by_key[run.key]
                for run in experiment.runs()
                if (run.case, run.seed) == (case, seed) and run.key in by_key
            ]
            for seed in experiment.seeds
        }
        whole = {seed: of for seed, of in runs.items() if len(of) == len(experiment.arms)}
        if whole:
            whole_cases[case] = whole
    cases = [_summarise_case(case, experiment, runs) for case, runs in whole_cases.items()]
    return {
        "format": _FORMAT,
        "experiment": experiment.name,
        "question": experiment.question,
        "metrics": list(experiment.metrics),
        "x": experiment.x,
        "arms": {arm.name: list(arm.settings) for arm in experiment.arms},
        "settings": list(experiment.settings),
        "num_runs": len(finished),
        "cases": cases,
        "kept": kept.measure_kept(experiment, whole_cases),
        "versions": _versions(finished),
    }


def _summarise_case(
    case: Case, experiment: Experiment, runs: Mapping[int, Sequence[FinishedRun]]
) -> dict[str, Any]:
    """One case: seed -> the run of each arm."""
    seeds, first = list(runs), next(iter(runs.values()))
    if len({one.facts["num_users"] for of in runs.values() for one in of}) > 1:
        raise InputError(
            f"The runs of {case.name} are of different users: some come from other examples. "
            "Remove those."
        )
    arms = []
    for place, arm in enumerate(experiment.arms):
        own = [of[place] for of in runs.values()]
        base = [of[0] for of in runs.values()]
        arms.append({"name": arm.name, **_summarise_arm(own, base if place else None)})
    return {
        "name": case.name,
        "group": case.group,
        "x": case.x,
        "seeds": seeds,
        "num_users": first[0].facts["num_users"],
        "num_positives": first[0].facts["num_positives"],
        "counted": _count_users(first[0], experiment.metrics),
        "devices": sorted({one.facts["device"] for of in runs.values() for one in of}),
        "settings": list(case.settings),
        "arms": arms,
    }


def _count_users(one: FinishedRun, names: Sequence[str]) -> dict[str, int]:
    """Users that count for a metric, where some have nothing that it could be of."""
    shown = {name: one.users[name].weights for name in names if name in one.users}
    counts = {name: int(np.count_nonzero(weights)) for name, weights in shown.items()}
    return {name: n for name, n in counts.items() if 0 < n < one.facts["num_users"]}


def _summarise_arm(
    own: Sequence[FinishedRun], base: Sequence[FinishedRun] | None
) -> dict[str, Any]:
    """Metrics of one arm, and what they differ by from the first one."""
    names = [name for name, metric in own[0].users.items() if metric.weights.any()]
    users = [one.users for one in own]
    metrics = {n: _plain(i, users, n) for n, i in paired.describe(users, names).items()}
    for name in sorted(set.intersection(*(set(one.facts["values"]) for one in own))):
        metrics[name] = _of_values([one.facts["values"][name] for one in own])
    found: dict[str, Any] = {
        "metrics": metrics,
        "num_epochs": [one.facts["num_epochs"] for one in own],
        "best_epochs": [one.facts["best_epoch"] for one in own],
        "cpu_s": [one.facts["made"].get("cpu_s") for one in own],
    }
    if base is not None:
        differences = paired.compare([one.users for one in base], users, names)
        found["differences"] = {name: interval._asdict() for name, interval in differences.items()}
        shared = set.intersection(*(set(one.facts["values"]) for one in (*own, *base)))
        for name in sorted(shared):
            pairs = zip(own, base, strict=True)
            by_seed = [a.facts["values"][name] - b.facts["values"][name] for a, b in pairs]
            found["differences"][name] = _of_values(by_seed)
    return found


def _plain(interval: Interval, users: Sequence[paired.RunUsers], name: str) -> dict[str, Any]:
    return interval._asdict() | {"by_seed": [one[name].total() for one in users]}


def _of_values(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds of a number that no user has."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "value": float(np.mean(values)),
        "standard_deviation": spread,
        "by_seed": [float(value) for value in values],
    }


def _versions(finished: Sequence[FinishedRun]) -> dict[str, str]:
    """Of what the runs were made with, which may be several of each."""
    found: dict[str, dict[str, None]] = {}
    for one in finished:
        made = one.facts["made"]
        versions = {**one.facts["versions"], "commit": made.get("commit"), **_machine(made)}
        for name, version in versions.items():
            if version:
                found.setdefault(name, {})[version] = None
    return {name: " and ".join(versions) for name, versions in found.items()}


def _machine(made: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: made.get(name) for name in ("python", "platform")}
