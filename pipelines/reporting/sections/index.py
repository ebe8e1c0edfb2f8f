"""How much the index finds and what it costs. Imports no TensorFlow."""

from collections.abc import Mapping
from typing import Any

from pipelines.reporting.page import charts, texts
from pipelines.reporting.page.blocks import Block, Figure, Missing, Section, ShownTable, Words
from pipelines.reporting.page.charts import Axis, Series
from pipelines.reporting.sections.run_folder import RunFolder

_COSTS = {
    "cpu_ms_per_user": "processor time of a user's search",
    "exact_cpu_ms_per_user": "the same by exact search",
}
"""Facts of the manifest's `tuning`, and what each is."""


def build(run: RunFolder) -> Section:
    """The section about the index of a run."""
    return Section(
        "index",
        "The index",
        "What serving finds of what exact search would find, and the processor time of it.",
        _blocks(run),
    )


def _blocks(run: RunFolder) -> list[Block]:
    index = run.index
    if index is None:
        return [Missing("The index: the folder has no finished `index`.")]
    tuning = index.get("tuning", {})
    rows = [
        ("kind", str(index["kind"])),
        ("items", texts.count(index["num_items"])),
        ("recall@100 against exact search", texts.metric(index.get("recall@100"))),
        ("measured on", f"{index.get('num_queries', 0):,} vectors, {index.get('measured_on', '')}"),
    ]
    for key, name in _COSTS.items():
        if key in tuning:
            rows.append((name, f"{tuning[key]:.3g} ms"))
    blocks: list[Block] = [ShownTable(("what", "value"), rows, "The index", numeric=False)]
    if tuning.get("reason"):
        blocks.append(Words([f"Why this one: {tuning['reason']}."]))
    points = tuning.get("curve")
    if points:
        blocks.append(_draw(points, tuning))
    return blocks


def _draw(points: list[Mapping[str, Any]], tuning: Mapping[str, Any]) -> Figure:
    xs = [point["cpu_ms_per_user"] for point in points]
    series = [Series("ScaNN", charts.MODEL, xs, [point["recall"] for point in points])]
    if "exact_cpu_ms_per_user" in tuning:
        series.append(
            Series("exact search", charts.PLAIN, [tuning["exact_cpu_ms_per_user"]], [1.0])
        )
    return charts.lines(
        "Recall against processor time",
        "Each point is a number of leaves that is searched, from an eighth to four times of those "
        "that were chosen: up is better, left is cheaper.",
        series,
        Axis("CPU-ms per user", "~r", lambda value: f"{value:.3g}", is_log=True),
        Axis("recall@100"),
    )
