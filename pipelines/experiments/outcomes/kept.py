"""How much of a metric is left as the number grows that a group of cases goes by."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.experiments.grids.grid import Case, Experiment
from pipelines.experiments.outcomes import paired
from pipelines.experiments.outcomes.run_files import FinishedRun

METRICS = ("hit_rate@50", "recall@10", "recall@50", "ndcg@10")
"""What is compared with the first case of a group."""


def measure_kept(
    experiment: Experiment, cases: Mapping[Case, Mapping[int, Sequence[FinishedRun]]]
) -> list[dict[str, Any]]:
    """Ratios of every case with noise to the one without, in the order of the cases.

    Args:
        experiment: Whose runs they are.
        cases: Case -> seed -> the run of each arm, finished ones.

    Returns:
        Of every case `group`, `x`, `seeds` and `arms`: by metric the ratio of each arm
        (`metrics`) and its difference from that of the first one (`differences`).
    """
    found = []
    for case, runs in cases.items():
        clean = next((c for c in cases if c.group == case.group and c.noise == 0), None)
        if not case.noise or clean is None:
            continue
        seeds = [seed for seed in runs if seed in cases[clean]]
        if seeds:
            pairs = [
                [(cases[clean][seed][arm].users, runs[seed][arm].users) for seed in seeds]
                for arm in range(len(experiment.arms))
            ]
            found.append(
                {
                    "group": case.group,
                    "x": case.x,
                    "seeds": seeds,
                    "arms": _describe_arms(experiment, pairs),
                }
            )
    return found


def _describe_arms(
    experiment: Experiment, pairs: Sequence[Sequence[tuple[paired.RunUsers, paired.RunUsers]]]
) -> list[dict[str, Any]]:
    arms = []
    for place, arm in enumerate(experiment.arms):
        ratios = {n: paired.describe_ratios(pairs[place], n)._asdict() for n in METRICS}
        one: dict[str, Any] = {"name": arm.name, "metrics": ratios}
        if place:
            one["differences"] = {
                n: paired.compare_ratios(pairs[0], pairs[place], n)._asdict() for n in METRICS
            }
        arms.append(one)
    return arms
