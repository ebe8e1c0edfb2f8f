"""Results as a drawing: differences with their intervals, or lines over a number."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from pipelines.experiments.outcomes import tables
from pipelines.experiments.outcomes.measures import DECILE
from pipelines.reporting.page import texts
from serving.release import storage

_COLOURS = (
    "#0f766e",
    "#b45309",
    "#4338ca",
    "#be123c",
    "#64748b",
    "#65a30d",
    "#0369a1",
    "#a21caf",
    "#0f172a",
    "#ca8a04",
)
_MOST_TITLE = 24
"""Characters of the name of a log above a panel."""
_WIDTH, _HEIGHT, _ROW, _PANELS, _COLUMNS = 260, 180, 22, 6, 2
"""Two panels beside each other are as wide as the text of a page: letters keep their size."""
_TICKS = 5


def write(found: Mapping[str, Any], path: str | Path) -> None:
    """Draws a `results.json` as SVG; nothing where there is nothing to compare."""
    if found["cases"] and len(found["arms"]) > 1:
        storage.write_text(path, vl_convert.vegalite_to_svg(chart(found).to_dict()))


def chart(found: Mapping[str, Any]) -> alt.VConcatChart:
    """A panel for each of the first metrics."""
    of_cases = [
        name for name in found["metrics"] if name in found["cases"][0]["arms"][0]["metrics"]
    ]
    shown = of_cases[:_PANELS]
    if found["x"]:
        panels = [panel for name in shown for panel in _lines(found, name)]
    else:
        draw = _differences if len(found["cases"]) > 1 else _differences_of_one
        panels = [draw(found, name, place % _COLUMNS == 0) for place, name in enumerate(shown)]
    lines = [alt.hconcat(*panels[i : i + _COLUMNS]) for i in range(0, len(panels), _COLUMNS)]
    chart = alt.vconcat(*lines)
    deciles = _deciles(found) if "gini@10" in found["metrics"] else []
    if deciles:  # With a legend of its own: differences have no colour for the first recipe.
        rows = [alt.hconcat(*deciles[i : i + _COLUMNS]) for i in range(0, len(deciles), _COLUMNS)]
        chart = alt.vconcat(chart, alt.vconcat(*rows)).resolve_scale(color="independent")
    chart = chart.properties(title=_title(found)).configure_view(stroke=None)
    return chart.configure(background="white", padding=8).configure_axis(gridColor="#e2e8f0")


def _title(found: Mapping[str, Any]) -> alt.TitleParams:
    """Which experiment on which logs, and what the lines around the points are."""
    names = dict.fromkeys(case["group"] or case["name"] for case in found["cases"])
    what = [
        "Lines: the middle 95 % of a paired bootstrap over users and seeds; of coverage and Gini ±"
    ]
    what += ["the standard deviation over the seeds."]
    what += [line for text in tables.cautions(found) for line in text.splitlines()]
    return alt.TitleParams(
        text=f"{found['experiment']}: {', '.join(names)}", subtitle=what, anchor="start", offset=14
    )


def _deciles(found: Mapping[str, Any]) -> list[alt.Chart]:
    """Which items the lists show, by popularity; runs of earlier versions have no such numbers."""
    panels = []
    for case in found["cases"]:
        points = [
            {"decile": int(name.removeprefix(DECILE)) + 1, "arm": arm["name"], "share": n["value"]}
            for arm in case["arms"]
            for name, n in arm["metrics"].items()
            if name.startswith(DECILE)
        ]
        if points:
            base = alt.Chart(alt.Data(values=points)).mark_line(point=True)
            title = "items by clicks, in tenths: 1 the most clicked"
            panels.append(
                base.encode(
                    alt.X("decile:O", title=title, axis=alt.Axis(labelAngle=0)),
                    alt.Y("share:Q", title=None, axis=alt.Axis(format=".0%")),
                    _colour(found, list(found["arms"])),
                ).properties(
                    width=_WIDTH,
                    height=_HEIGHT,
                    title=f"slots of the lists, {texts.short(case['name'], _MOST_TITLE)}",
                )
            )
    return panels


def _lines(found: Mapping[str, Any], metric: str) -> list[alt.LayerChart]:
    """A metric of every arm over the number that the cases go by, a panel for each group."""
    groups = dict.fromkeys(case["group"] for case in found["cases"])
    return [_group_lines(found, metric, group) for group in groups]


def _group_lines(found: Mapping[str, Any], metric: str, group: str) -> alt.LayerChart:
    points = [
        {"x": case["x"], "arm": arm["name"], **_ends(arm["metrics"][metric])}
        for case in found["cases"]
        for arm in case["arms"]
        if case["group"] == group and metric in arm["metrics"]
    ]
    base = alt.Chart(alt.Data(values=points)).encode(
        alt.X("x:Q", title=found["x"]), _colour(found, list(found["arms"]))
    )
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    drawn = base.mark_line(point=True).encode(y)
    ranges = base.mark_area(opacity=0.15).encode(alt.Y("low:Q"), alt.Y2("high:Q"))
    title = f"{metric}, {texts.short(group, _MOST_TITLE)}" if group else metric
    return (ranges + drawn).properties(width=_WIDTH, height=_HEIGHT, title=title)


def _differences(found: Mapping[str, Any], metric: str, has_names: bool) -> alt.LayerChart:
    """What every arm differs by from the first one, a row for each case, a colour for each arm."""
    others = list(found["arms"])[1:]
    base = alt.Chart(alt.Data(values=_difference_points(found, metric))).encode(
        _rows("case:N", [case["name"] for case in found["cases"]], has_names),
        alt.YOffset("arm:N", sort=others),
        _colour(found, others),
    )
    return _draw_differences(base, found, metric, len(found["cases"]) * len(others))


def _differences_of_one(found: Mapping[str, Any], metric: str, has_names: bool) -> alt.LayerChart:
    """The same of one case, a row for each arm."""
    others = list(found["arms"])[1:]
    base = alt.Chart(alt.Data(values=_difference_points(found, metric))).encode(
        _rows("arm:N", others, has_names), color=alt.value(_COLOURS[0])
    )
    return _draw_differences(base, found, metric, len(others))


def _rows(field: str, names: list[str], has_names: bool) -> alt.Y:
    """Rows of these names, at the left of a line of panels."""
    axis = alt.Axis(labelLimit=300, ticks=False, domain=False, labels=has_names, grid=True)
    return alt.Y(field, title=None, sort=names, scale=alt.Scale(domain=names), axis=axis)


def _difference_points(found: Mapping[str, Any], metric: str) -> list[dict[str, Any]]:
    return [
        {"case": case["name"], "arm": arm["name"], **_ends(arm["differences"][metric])}
        for case in found["cases"]
        for arm in case["arms"][1:]
        if metric in arm.get("differences", {})
    ]


def _draw_differences(
    base: alt.Chart, found: Mapping[str, Any], metric: str, num_rows: int
) -> alt.LayerChart:
    """Points with their intervals, and a line at zero."""
    title = f"{metric}, difference from {next(iter(found['arms']))}"
    # Room for the points at both ends.
    x = alt.X(
        "value:Q",
        title=title,
        scale=alt.Scale(padding=10),
        axis=alt.Axis(tickCount=_TICKS, labelOverlap="greedy", labelSeparation=6),
    )
    zero = (
        alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(color="#94a3b8").encode(alt.X("zero:Q"))
    )
    drawn = base.mark_point(filled=True, size=55, opacity=1).encode(x)
    ranges = base.mark_rule(strokeWidth=2).encode(alt.X("low:Q"), alt.X2("high:Q"))
    height = max(60, _ROW * num_rows)
    return (zero + ranges + drawn).properties(width=_WIDTH, height=height)


def _colour(found: Mapping[str, Any], arms: list[str]) -> alt.Color:
    legend = None
    if len(arms) > 1:
        legend = alt.Legend(orient="bottom", columns=2, labelLimit=400, symbolOpacity=1)
    domain = list(found["arms"])
    colours = [_COLOURS[i % len(_COLOURS)] for i in range(len(domain))]
    return alt.Color(
        "arm:N", title=None, legend=legend, scale=alt.Scale(domain=domain, range=colours)
    )


def _ends(number: Mapping[str, Any]) -> dict[str, float]:
    """A value and the ends of what is drawn around it."""
    value = number["value"]
    if "low" in number:
        return {"value": value, "low": number["low"], "high": number["high"]}
    spread = number["standard_deviation"] or 0.0
    return {"value": value, "low": value - spread, "high": value + spread}
