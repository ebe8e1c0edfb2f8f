"""Metrics of the test users beside the baselines and another run. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.evaluation import user_results
from pipelines.evaluation.intervals import Interval, bootstrap
from pipelines.reporting.page import charts, texts
from pipelines.reporting.page.blocks import Block, Figure, Missing, Section, ShownTable, Words
from pipelines.reporting.page.charts import Axis, Series
from pipelines.reporting.sections.run_folder import RunFolder
from recall.settings.evaluation import main_cut_off, shown_cut_offs

_MODEL = "model"
RANKERS = (_MODEL, *charts.BASELINES)
"""Whose metrics the report of one run has."""

_METRICS = {
    "recall": "share of a user's next clicks in the list, mean over users",
    "ndcg": "the same, places further up count more",
    "mrr": "1 / place of the first hit",
    "hit_rate": "share of all held-out clicks in the lists",
    "debiased_hit_rate": "the same, a click on an item that is clicked often counting less",
    "coverage": "share of the catalogue that anybody gets",
    "category_diversity": "share of pairs in a list without a common category",
    "popularity_percentile": "mean place of the items by clicks, 0.5 is a random list",
    "gini": "how unequally items are shown, 1 is one item only",
}
"""Metrics of the table, and what each says."""

_OF_LONG_LISTS = ("hit_rate", "debiased_hit_rate")
"""Those that the lines after a run have of the longest lists."""

_BY_LENGTH = (
    ("recall", "How much of what users clicked next is among the first items."),
    ("ndcg", "The same, with hits further up worth more."),
)

_COMPARED = "ndcg"
"""What differences are told of: the metric that early stopping looks at."""


def build(run: RunFolder, other: RunFolder | None) -> Section:
    """The section about the quality of a run, beside another one."""
    return Section(
        "quality",
        "Quality",
        "How well the lists hold what test users clicked next. The whole catalogue is ranked for "
        "each of them; the baselines learn nothing.",
        _blocks(run, other),
    )


def _blocks(run: RunFolder, other: RunFolder | None) -> list[Block]:
    report = run.evaluation
    if report is None:
        return [Missing("The metrics: the folder has no finished `evaluation`.")]
    columns = {
        _MODEL: report["test"],
        **({other.name: other.evaluation["test"]} if other and other.evaluation else {}),
        **report["baselines"],
    }
    k = run.k
    chosen = metric_names(report)
    blocks: list[Block] = [
        Words([_describe(report)]),
        _table(columns, chosen, find_intervals(run, other)),
    ]
    if run.users is None:
        blocks.append(Missing(f"Intervals: {run.EARLIER_EVALUATION}"))
    else:
        blocks.append(Words(_differences(run, other, k), as_list=True))
    blocks += [_draw_by_length(columns, report, *measure) for measure in _BY_LENGTH]
    legend = [f"{n}: {text}" for n, text in _METRICS.items() if f"{n}@{k}" in chosen]
    return [*blocks, Words(legend, as_list=True)]


def _describe(report: Mapping[str, Any]) -> str:
    protocol, users = report["protocol"], report["num_users"]
    seen = "removed from" if protocol["exclude_seen"] else "kept in"
    clock = protocol.get("clock")
    by = f" (the test from {clock['test_from']})" if clock else ""
    return (
        f"Protocol {protocol['name']}{by}, {users['test']:,} test users, {report['num_items']:,} "
        f"items; items of a user's history are {seen} the candidates."
    )


def find_intervals(run: RunFolder, other: RunFolder | None) -> dict[str, dict[str, Interval]]:
    """Intervals of the ranking metrics by ranker; the other run's under its name."""
    found, ks = {}, shown_cut_offs(run.ks)
    if run.users is not None:
        own = [k for k in ks if k <= run.users.depth]
        for ranker in run.users.places:
            found[ranker] = bootstrap(run.users.user_metrics(ranker, own)).metrics
    if other is not None and other.users is not None:
        theirs = [k for k in ks if k <= other.users.depth]
        if theirs:
            found[other.name] = bootstrap(other.users.user_metrics(_MODEL, theirs)).metrics
    return found


def metric_names(report: Mapping[str, Any]) -> list[str]:
    """The metrics of a report that are shown, in their order."""
    ks = report["protocol"]["ks"]
    names = [
        f"{name}@{k}"
        for name in _METRICS
        for k in (shown_cut_offs(ks) if name in _OF_LONG_LISTS else [main_cut_off(ks)])
    ]
    return [name for name in names if name in report["test"]]


def _table(
    columns: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    intervals: Mapping[str, Mapping[str, Interval]],
) -> ShownTable:
    rows = [
        (
            name,
            *(
                _cell(values.get(name), intervals.get(column, {}).get(name))
                for column, values in columns.items()
            ),
        )
        for name in names
    ]
    return ShownTable(
        ("metric", *columns), rows, "Test users; in brackets 95 % bootstrap intervals"
    )


def _cell(value: float | None, interval: Interval | None) -> str:
    text = texts.metric(value)
    if interval is None:
        return text
    return f"{text} ({texts.metric(interval.low)} to {texts.metric(interval.high)})"


def compare_runs(run: RunFolder, other: RunFolder, k: int) -> Interval | None:
    """NDCG at k of a run minus that of another, user by user; None where they share too few."""
    if run.users is None or other.users is None or k > other.users.depth:
        return None
    shared = user_results.match_users(run.users, other.users)
    if shared is None:
        return None
    name = f"{_COMPARED}@{k}"
    mine, theirs = (users.user_metrics(_MODEL, [k])[name] for users in shared)
    return bootstrap({"mine": mine, "theirs": theirs}).differences["theirs"]


def _differences(run: RunFolder, other: RunFolder | None, k: int) -> list[str]:
    """What the model is better or worse by, user by user."""
    name = f"{_COMPARED}@{k}"
    of_rankers = {ranker: run.users.user_metrics(ranker, [k])[name] for ranker in run.users.places}
    found = bootstrap({_MODEL: of_rankers.pop(_MODEL), **of_rankers}).differences
    lines = [_tell(name, ranker, difference) for ranker, difference in found.items()]
    if other is None or other.users is None:
        return lines
    difference = compare_runs(run, other, k)
    if difference is None:
        return [*lines, f"{other.name} has other test users: its numbers are not compared."]
    return [*lines, _tell(name, other.name, difference)]


def _tell(name: str, other: str, difference: Interval) -> str:
    sides = f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"
    verdict = "more than chance" if difference.excludes_zero else "may be chance"
    return f"{name}, the model minus {other}: {sides}, {verdict}."


def _draw_by_length(
    columns: Mapping[str, Mapping[str, Any]], report: Mapping[str, Any], metric: str, text: str
) -> Figure:
    """A metric by the length of the list."""
    ks = report["protocol"]["ks"]
    colours = {_MODEL: charts.MODEL, **charts.BASELINES}
    series = []
    for name, values in columns.items():
        measured = [k for k in ks if f"{metric}@{k}" in values]
        ys = [values[f"{metric}@{k}"] for k in measured]
        series.append(Series(name, colours.get(name, charts.OTHER_RUN), measured, ys))
    return charts.lines(
        f"{metric} by the length of the list",
        text,
        series,
        Axis("items in the list", "d", texts.count, whole=True),
        Axis(metric, from_zero=True),
    )
