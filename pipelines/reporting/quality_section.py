"""Metrics of the test users beside the baselines and another run. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.reporting import charts, texts
from pipelines.reporting.blocks import Block, Figure, Missing, Section, Table, Words
from pipelines.reporting.charts import Axis, Series
from pipelines.reporting.run_folder import RunFolder

_METRICS = {
    "recall": "share of a user's next clicks in the list, mean over users",
    "ndcg": "the same, places further up count more",
    "mrr": "1 / place of the first hit",
    "hit_rate": "share of all held-out clicks in the lists",
    "coverage": "share of the catalogue that anybody gets",
    "category_diversity": "share of pairs in a list without a common category",
    "popularity_percentile": "mean place of the items by clicks, 0.5 is a random list",
    "gini": "how unequally items are shown, 1 is one item only",
}
"""Metrics of the table, and what each says."""

_BY_LENGTH = (
    ("recall", "How much of what users clicked next is among the first items."),
    ("ndcg", "The same, with hits further up worth more."),
)

WIDE = 1.96
"""Standard errors of a 95 % interval."""


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
        run.name: report["test"],
        **({other.name: other.evaluation["test"]} if other and other.evaluation else {}),
        **report["baselines"],
    }
    k = cut_off(report)
    chosen = [f"{name}@{k}" for name in _METRICS if f"{name}@{k}" in report["test"]]
    figures = [_draw_by_length(columns, report, *measure) for measure in _BY_LENGTH]
    return [
        Words([_describe(report)]),
        _table(columns, chosen),
        *figures,
        Words([f"{n}: {text}" for n, text in _METRICS.items() if f"{n}@{k}" in chosen], True),
    ]


def _describe(report: Mapping[str, Any]) -> str:
    protocol, users = report["protocol"], report["num_users"]
    seen = "removed from" if protocol["exclude_seen"] else "kept in"
    return (
        f"Protocol {protocol['name']}, {users['test']:,} test users, {report['num_items']:,} "
        f"items; items of a user's history are {seen} the candidates."
    )


def cut_off(report: Mapping[str, Any], wanted: int = 10) -> int:
    """The measured cut-off that comes nearest to `wanted`."""
    return min(report["protocol"]["ks"], key=lambda k: (abs(k - wanted), k))


def _table(columns: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Table:
    rows = [(name, *(_cell(values, name) for values in columns.values())) for name in names]
    return Table(("metric", *columns), rows, "Test users; ± is half a 95 % interval")


def _cell(values: Mapping[str, Any], name: str) -> str:
    error = values.get("standard_errors", {}).get(name)
    text = texts.metric(values.get(name))
    return text if error is None else f"{text} ± {WIDE * error:.4f}"


def _draw_by_length(
    columns: Mapping[str, Mapping[str, Any]], report: Mapping[str, Any], metric: str, text: str
) -> Figure:
    """A metric by the length of the list, with 95 % intervals in the table."""
    ks = report["protocol"]["ks"]
    colours = [charts.MODEL, charts.OTHER_RUN][: len(columns) - len(charts.BASELINES)]
    colours += charts.BASELINES.values()
    series = []
    for (name, values), colour in zip(columns.items(), colours, strict=True):
        measured = [k for k in ks if f"{metric}@{k}" in values]
        ys = [values[f"{metric}@{k}"] for k in measured]
        series.append(Series(name, colour, measured, ys))
    return charts.lines(
        f"{metric} by the length of the list",
        text,
        series,
        Axis("items in the list", "d", texts.count, whole=True),
        Axis(metric, from_zero=True),
    )
