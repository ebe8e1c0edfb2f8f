"""By how much the metrics of runs differ, user by user. Imports no TensorFlow."""

from collections.abc import Sequence

from pipelines.evaluation import intervals, user_results
from pipelines.evaluation.intervals import Interval
from pipelines.evaluation.user_results import UserResults
from pipelines.tracking.run_facts import RunFacts, users_path

_MODEL = "model"
_LOG = "events"
"""Among the inputs of a run: the checksum of its log."""

_METRICS = (("recall", 10), ("ndcg", 10), ("recall", 50), ("hit_rate", 50))
"""What is told of, where the lists are so long."""


def measure_differences(runs: Sequence[RunFacts]) -> dict[str, list[Interval | None]]:
    """Metrics of every run minus those of the first one, with 95 % intervals over users.

    Args:
        runs: At least two.

    Returns:
        Metric -> one entry for each run but the first: None where it has no results of users,
        or of others than the first one has, or is of another log. {} where nothing can be
        compared.

    Raises:
        InputError: A file is damaged.
    """
    first, *others = (_read(run) for run in runs)
    apart = find_other_logs(runs)
    found = [
        {} if run in apart else _compare(first, other)
        for run, other in zip(runs[1:], others, strict=True)
    ]
    names = dict.fromkeys(name for one in found for name in one)
    return {name: [one.get(name) for one in found] for name in names}


def find_other_logs(runs: Sequence[RunFacts]) -> list[RunFacts]:
    """The runs whose log is not that of the first one: their users and clicks are others."""
    first, *others = runs
    return [run for run in others if run.inputs.get(_LOG) != first.inputs.get(_LOG)]


def _read(run: RunFacts) -> UserResults | None:
    path = users_path(run.directory)
    return UserResults.read(path) if "evaluate" in run.jobs and path.exists() else None


def _compare(first: UserResults | None, other: UserResults | None) -> dict[str, Interval]:
    if first is None or other is None:
        return {}
    matched = user_results.match_users(first, other)
    if matched is None:
        return {}
    depth, found = min(first.depth, other.depth), {}
    for metric, k in _METRICS:
        if k <= depth:
            name = f"{metric}@{k}"
            theirs, mine = (users.user_metrics(_MODEL, [k])[name] for users in matched)
            found[name] = intervals.bootstrap({"mine": mine, "first": theirs}).differences["first"]
    return found
