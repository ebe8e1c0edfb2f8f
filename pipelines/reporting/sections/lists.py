"""What is shown: exposure by popularity, recall against diversity. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.reporting.page import charts, texts
from pipelines.reporting.page.blocks import Block, Figure, Missing, Section
from pipelines.reporting.page.charts import Axis, Series
from pipelines.reporting.sections.run_folder import RunFolder

CLICKED_NEXT = "clicked next"
"""What the exposure of the lists is compared with."""

_MERGE, _OLD_MERGE = "new_categories", "diversity"
"""Of the trade-off that is drawn; details of earlier versions have the second alone."""

_SHARE = Axis("share", ".0%", texts.share, from_zero=True)


def build(run: RunFolder, other: RunFolder | None) -> Section:
    """The section about the lists of a run, beside another one."""
    return Section(
        "lists",
        "What is shown",
        "Whether the lists serve the whole catalogue or its head, and what more variety costs.",
        _blocks(run, other),
    )


def _blocks(run: RunFolder, other: RunFolder | None) -> list[Block]:
    if run.details is None:
        return [Missing(f"Exposure and diversity: {run.EARLIER_EVALUATION}")]
    compared = other if other and other.details else None
    blocks: list[Block] = [_draw_exposure(run, compared)]
    if run.details["trade_off"]:
        blocks.append(_draw_trade_off(run, compared))
    else:
        blocks.append(Missing("Recall against diversity: the items have no categories."))
    return blocks


def _draw_exposure(run: RunFolder, other: RunFolder | None) -> Figure:
    exposure = run.details["exposure"]
    slots = exposure["slots"]
    named = {
        CLICKED_NEXT: (charts.BASELINES["popularity"], exposure["targets"]),
        "model": (charts.MODEL, slots["model"]),
        **(
            {other.name: (charts.OTHER_RUN, other.details["exposure"]["slots"]["model"])}
            if other
            else {}
        ),
        "bigram": (charts.BASELINES["bigram"], slots["bigram"]),
    }
    names = [str(number) for number in range(1, len(exposure["items"]) + 1)]
    series = [
        Series(name, colour, names, _shares(values)) for name, (colour, values) in named.items()
    ]
    return charts.bars(
        "Exposure by popularity",
        f"Slots of the first {exposure['k']} items of all lists by decile of the catalogue, the "
        "most clicked tenth first, beside what users really clicked next. A model whose first "
        "bar is far above theirs shows the head more than users want it. (The popularity "
        "baseline shows only the head.)",
        series,
        Axis("tenth of the catalogue, 1 is the most clicked", text=str),
        _SHARE,
    )


def _shares(values: Sequence[int]) -> list[float]:
    total = max(1, sum(values))
    return [value / total for value in values]


def _draw_trade_off(run: RunFolder, other: RunFolder | None) -> Figure:
    k = run.details["k"]
    series = [_trade_off(run.details, "model", charts.MODEL)]
    if other is not None and other.details["trade_off"]:
        series.append(_trade_off(other.details, other.name, charts.OTHER_RUN))
    for name, metrics in (run.evaluation or {}).get("baselines", {}).items():
        x, y = metrics.get(f"category_diversity@{k}"), metrics.get(f"recall@{k}")
        if x is not None:
            series.append(Series(name, charts.BASELINES.get(name, charts.PLAIN), [x], [y]))
    points = _points(run.details)
    weights = [point["diversity_weight"] for point in points]
    return charts.lines(
        "Recall against diversity",
        "To the right, lists whose items have fewer categories in common; each point of the "
        f"line is a larger diversity_weight ({', '.join(f'{w:.2g}' for w in weights)}) of requests "
        f"with merge={points[0].get('merge', _OLD_MERGE)}. On "
        f"{run.details['trade_off_users']:,} users.",
        series,
        Axis(f"category diversity of {k} items", text=texts.metric),
        Axis(f"recall@{k}", from_zero=True),
    )


def _points(details: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The points of one merge, of `new_categories` where it was measured."""
    points = details["trade_off"]
    merges = [point.get("merge", _OLD_MERGE) for point in points]
    shown = _MERGE if _MERGE in merges else _OLD_MERGE
    return [point for point, merge in zip(points, merges, strict=True) if merge == shown]


def _trade_off(details: Mapping[str, Any], name: str, colour: str) -> Series:
    points = _points(details)
    return Series(
        name,
        colour,
        [point["category_diversity"] for point in points],
        [point["recall"] for point in points],
    )
