"""What a reader of a run must know, in words. Imports no TensorFlow."""

from collections.abc import Mapping
from typing import Any

from pipelines.evaluation import remarks
from pipelines.evaluation.exposure import NUM_DECILES
from pipelines.ingestion import warning_lines
from pipelines.reporting.page import texts
from pipelines.reporting.sections import quality
from pipelines.reporting.sections.run_folder import RunFolder
from pipelines.reporting.sections.training import find_best_epoch, stopping_metric
from pipelines.validation import validate

_ALMOST_NOTHING = 0.1
"""An interest with less than this part of its equal share 1 / K hardly works."""

_NO_GAIN = 0.99
"""One interest alone that finds this part of what all find leaves the others no use."""

_MANY_NEVER_TRAINED = 0.05
"""Share of the items without a training click that is worth a line."""

_OVER_FIT = 2.0
"""Standard errors that the validation metric must have fallen by since its best epoch."""

_HEAD_BIAS = 1.25
"""Times that the lists may show the head of the catalogue more than users click it."""


def find(run: RunFolder, other: RunFolder | None = None) -> list[str]:
    """Warnings about a run, each a sentence or two; none where all is as it should be.

    Args:
        run: The run.
        other: One that it is compared with.
    """
    lines = _broken_limits(run)
    if run.evaluation is not None:
        lines += remarks.remarks(run.evaluation)
    if run.details is not None:
        interests = run.details["interests"]
        lines += _idle_interests(interests)
        lines += _one_interest_does(interests, run.details["recall"], run.details["k"])
        lines += _popularity_bias(run.details["exposure"])
    lines += _no_better_than_one_interest(run, other)
    lines += _over_fitting(run)
    lines += _stopped_early(run)
    lines += _unknown_items(run)
    if run.ingest_report is not None:
        prefix = warning_lines.PREFIX
        said = run.ingest_report.get("lines", ())
        lines += [line.removeprefix(prefix) for line in said if line.startswith(prefix)]
    return [line[:1].upper() + line[1:] for line in lines]


def _broken_limits(run: RunFolder) -> list[str]:
    """What stopped a run before its training."""
    checks = (run.validation or {}).get("checks", ())
    return [
        f"The log is not fit to be trained on: {validate.describe(check)}."
        for check in checks
        if not check["holds"]
    ]


def _idle_interests(interests: list[Mapping[str, Any]]) -> list[str]:
    bound = _ALMOST_NOTHING / len(interests)
    idle = [
        f"{number} ({texts.share(one['share_of_clicks'])})"
        for number, one in enumerate(interests)
        if one["share_of_clicks"] < bound
    ]
    if not idle or len(interests) == 1:
        return []
    noun, win = ("Interest", "wins") if len(idle) == 1 else ("Interests", "win")
    return [
        f"{noun} {', '.join(idle)} of {len(interests)} {win} almost no clicks. Each costs a search "
        "per request and finds next to nothing of its own: raise loss.min_interest_share, or "
        "lower model.num_interests."
    ]


def _one_interest_does(interests: list[Mapping[str, Any]], recall: float, k: int) -> list[str]:
    if len(interests) == 1:
        return []
    number = max(range(len(interests)), key=lambda n: interests[n]["recall_alone"])
    alone = interests[number]["recall_alone"]
    if recall == 0 or alone < _NO_GAIN * recall:
        return []
    return [
        f"Interest {number} alone finds as much as all {len(interests)} (recall@{k} "
        f"{texts.metric(alone)} against {texts.metric(recall)}): more than one interest earns "
        "nothing here. Try model.num_interests=1, which trains and serves for less, and compare."
    ]


def _no_better_than_one_interest(run: RunFolder, other: RunFolder | None) -> list[str]:
    """What a model that was trained with one interest says about the others."""
    if other is None or other.num_interests != 1 or (run.num_interests or 1) == 1:
        return []
    difference = quality.compare_runs(run, other, run.k)
    if difference is None or difference.low > 0:
        return []
    return [
        f"{run.num_interests} interests are not shown to be better than the one of {other.name}: "
        f"ndcg@{run.k} {difference.value:+.4f}, 95 % interval {difference.low:+.4f} to "
        f"{difference.high:+.4f}."
    ]


def _popularity_bias(exposure: Mapping[str, Any]) -> list[str]:
    if sum(exposure["items"]) < NUM_DECILES:
        return []
    slots, targets = exposure["slots"]["model"], exposure["targets"]
    shown, wanted = slots[0] / max(1, sum(slots)), targets[0] / max(1, sum(targets))
    if not wanted or shown < _HEAD_BIAS * wanted:
        return []
    return [
        f"Popularity bias: the most clicked tenth of the catalogue fills {texts.share(shown)} of "
        f"the lists, while {texts.share(wanted)} of the next clicks are on it. "
        "loss.negatives=queue shows popular items less."
    ]


def _over_fitting(run: RunFolder) -> list[str]:
    best, section = find_best_epoch(run), (run.evaluation or {}).get("validation", {})
    metric = stopping_metric(run)
    best_by, error = f"val_{metric}", section.get("standard_errors", {}).get(metric)
    last = run.epochs[-1] if run.epochs else {}
    if best is None or error is None or best_by not in last:
        return []
    fallen = best[best_by] - last[best_by]
    if fallen < _OVER_FIT * error:
        return []
    return [
        f"Over-fitting: after epoch {best['epoch']} of {last['epoch']} the training loss went on "
        f"falling while validation {metric} fell from {texts.metric(best[best_by])} to "
        f"{texts.metric(last[best_by])}. The weights of the best epoch are kept; a higher "
        "model.dropout_rate or a smaller model.dim may carry it further."
    ]


def _stopped_early(run: RunFolder) -> list[str]:
    """A training that was cut off while it still got better."""
    best = find_best_epoch(run)
    if best is None or run.config is None:
        return []
    if not best["epoch"] == len(run.epochs) == run.config["train"]["max_epochs"]:
        return []
    return [
        f"The last of {len(run.epochs)} epochs is the best one: the model was still getting "
        "better. Raise train.max_epochs."
    ]


def _looks_at_items(config: Mapping[str, Any] | None) -> bool:
    """Whether the model makes vectors of items without clicks, out of their features."""
    if config is None:
        return False
    declared = config.get("features", {}).get("columns", [])
    return config.get("model", {}).get("use_categories", False) or any(
        column["owner"] == "item" for column in declared
    )


def _unknown_items(run: RunFolder) -> list[str]:
    facts = run.statistics
    if facts is None:
        return []
    number = facts["unknowns"]["items_never_in_training"]
    if number < _MANY_NEVER_TRAINED * facts["num_items"] or _looks_at_items(run.config):
        return []
    return [
        f"{number:,} of {facts['num_items']:,} items ({texts.share(number / facts['num_items'])}) "
        "were never clicked in training: without features of items (features.columns, or "
        "model.use_categories=true) their vectors are those they began with."
    ]
