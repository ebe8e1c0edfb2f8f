"""Drawings by Vega-Lite (Altair), as SVG that needs no script and takes its colours from CSS.

Every function returns a `Figure`, which holds the drawn numbers as a table too. Colours are
variables of CSS, so that one drawing serves light, dark and print. Imports no TensorFlow.
"""

import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import altair as alt
import vl_convert
from markupsafe import Markup

from pipelines.reporting.page import texts
from pipelines.reporting.page.blocks import Figure, Key, ShownTable

_INTEREST_COLOURS = 8
"""Those of `report.css`."""

MODEL, OTHER_RUN = "var(--model)", "var(--other)"
BASELINES = {"popularity": "var(--popularity)", "bigram": "var(--bigram)"}
PLAIN = "var(--plain)"

_WIDTH, _HEIGHT = 360, 230
"""Drawn for the width of a phone; the page makes it as wide as its column."""

_NO_MARK = re.compile(r' aria-roledescription="(?:axis|legend|title)')

_POINT_SIZE, _ALONE_SIZE = 22, 80
"""Square pixels of a point, and of one that no line leads to."""

_ROW = 26
"""Height of a row of `intervals`, for each series in it."""

_LEFT_OUT = re.compile(r' (?:role|aria-roledescription|aria-hidden|xmlns(?::xlink)?)="[^"]*"')


def interest_colour(number: int) -> str:
    """The colour of an interest; those beyond the eighth begin again."""
    return f"var(--i{number % _INTEREST_COLOURS})"


class Axis(NamedTuple):
    """What is along one side.

    Attributes:
        title: Of the quantity.
        format: Of its numbers on the drawing, as in d3; "" leaves it to Vega.
        text: Its numbers as texts of the table.
        is_log: Whether the scale is logarithmic.
        from_zero: Whether the scale begins at 0.
        whole: Whether only whole numbers are marked.
        is_time: Whether its numbers are milliseconds since 1970.
    """

    title: str
    format: str = ""
    text: Callable[[float], str] = texts.metric
    is_log: bool = False
    from_zero: bool = False
    whole: bool = False
    is_time: bool = False


class Series(NamedTuple):
    """Numbers of one colour.

    Attributes:
        name: In the legend.
        colour: Of CSS.
        xs: Places along the first axis: numbers, or names.
        ys: As many numbers.
        lows: Lower ends of intervals, None where there are none.
        highs: Their upper ends.
        is_dashed: Whether its line is dashed.
    """

    name: str
    colour: str
    xs: Sequence
    ys: Sequence[float]
    lows: Sequence[float] | None = None
    highs: Sequence[float] | None = None
    is_dashed: bool = False


def lines(
    title: str,
    text: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    points: bool = True,
    chosen: float | None = None,
) -> Figure:
    """Lines over a number, in the order of the points.

    Args:
        title: Of the figure.
        text: How to read it.
        series: The lines.
        x: The number they are over.
        y: What they show.
        points: Whether the points are drawn, too.
        chosen: A place along the first axis that is marked by an upright line.
    """
    base = alt.Chart(_data(series, x, y)).encode(
        x=alt.X("x:Q", axis=_axis(x, is_x=True), scale=_scale(x)),
        y=alt.Y("y:Q", axis=_axis(y), scale=_scale(y)),
        color=_colours(series),
        order="n:Q",
    )
    told = base.encode(description="tip:N")
    dashes = [[5, 4] if s.is_dashed else [1, 0] for s in series]
    line = base.mark_line(strokeWidth=2, interpolate="linear").encode(
        strokeDash=alt.StrokeDash(
            "s:N", legend=None, scale=alt.Scale(domain=[s.name for s in series], range=dashes)
        )
    )
    drawing = (
        line + told.mark_point(filled=True, opacity=1).encode(size=alt.Size("size:Q", scale=None))
        if points
        else line
    )
    if chosen is not None:
        rule = alt.Chart(alt.Data(values=[{"x": chosen}])).encode(x="x:Q")
        drawing = rule.mark_rule(color="var(--line)", strokeDash=[3, 3]) + drawing
    return Figure(title, text, _draw(drawing), _legend(series), _table(title, series, x, y))


def bars(title: str, text: str, series: Sequence[Series], x: Axis, y: Axis) -> Figure:
    """Bars side by side over names."""
    names = [s.name for s in series]
    drawing = (
        alt.Chart(_data(series, x, y))
        .mark_bar()
        .encode(
            x=alt.X("x:N", axis=_axis(x, is_x=True, is_named=True), sort=None),
            xOffset=alt.XOffset("s:N", sort=names),
            y=alt.Y("y:Q", axis=_axis(y), scale=_scale(y._replace(from_zero=not y.is_log))),
            color=_colours(series),
            description="tip:N",
        )
    )
    return Figure(title, text, _draw(drawing), _legend(series), _table(title, series, x, y))


def histogram(
    title: str, text: str, edges: Sequence[float], ys: Sequence[float], x: Axis, y: Axis
) -> Figure:
    """Bars between edges, one more than bars.

    Args:
        title: Of the figure.
        text: How to read it.
        edges: Ascending.
        ys: Height of each bar.
        x: The quantity that has edges.
        y: The quantity of the bars.
    """
    names = [f"{x.text(a)} to {x.text(b)}" for a, b in itertools.pairwise(edges)]
    heights = [float(height) for height in ys]
    told = [y.text(height) for height in heights]
    rows = [
        {"a": float(a), "b": float(b), "y": height, "zero": 0, "tip": f"{name}: {words}"}
        for (a, b), height, name, words in zip(
            itertools.pairwise(edges), heights, names, told, strict=True
        )
    ]
    drawing = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect(color=PLAIN, stroke="var(--card)", strokeWidth=0.5)
        .encode(
            x=alt.X("a:T" if x.is_time else "a:Q", axis=_axis(x, is_x=True), scale=_scale(x)),
            x2="b:Q",
            y=alt.Y("y:Q", axis=_axis(y), scale=_scale(y._replace(from_zero=True))),
            y2="zero:Q",
            description="tip:N",
        )
    )
    table = ShownTable((x.title, y.title), list(zip(names, told, strict=True)), title)
    return Figure(title, text, _draw(drawing), (), table)


def intervals(title: str, text: str, series: Sequence[Series], y_title: str, x: Axis) -> Figure:
    """Points with intervals, a row per name of `Series.xs`."""
    names = [s.name for s in series]
    places = Axis(y_title, text=str)
    base = alt.Chart(_data(series, places, x)).encode(
        y=alt.Y(
            "x:N",
            sort=None,
            axis=alt.Axis(title=None, labelLimit=150, labelPadding=10, ticks=False, domain=False),
        ),
        yOffset=alt.YOffset("s:N", sort=names),
        color=_colours(series),
        description="tip:N",
    )
    rules = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("lo:Q", axis=_axis(x, is_x=True), scale=_scale(x)), x2="hi:Q"
    )
    points = base.mark_point(size=45, filled=True, opacity=1).encode(x="y:Q")
    num_rows = len(dict.fromkeys(name for s in series for name in s.xs))
    height = 60 + num_rows * (10 + _ROW * len(series) * 0.6)
    table = _table(title, series, places, x)
    return Figure(title, text, _draw(rules + points, round(height)), _legend(series), table)


def _data(series: Sequence[Series], x: Axis, y: Axis) -> alt.Data:
    """All points as rows; what is no number is left out."""
    rows = []
    for one in series:
        lows, highs = one.lows or one.ys, one.highs or one.ys
        name = f"{one.name}, " if len(series) > 1 else ""
        for n, (place, value, low, high) in enumerate(
            zip(one.xs, one.ys, lows, highs, strict=True)
        ):
            if value is None or not math.isfinite(value):
                continue
            tip = f"{name}{x.title} {x.text(place)}: {_with_interval(one, n, y)}"
            row = {"x": place, "y": value, "lo": low, "hi": high, "s": one.name, "n": n, "tip": tip}
            rows.append(row | {"size": _ALONE_SIZE if len(one.xs) == 1 else _POINT_SIZE})
    return alt.Data(values=rows)


def _with_interval(one: Series, at: int, y: Axis) -> str:
    """A number as a text, with its interval where it has one."""
    text = y.text(one.ys[at])
    if one.lows is None:
        return text
    return f"{text} ({y.text(one.lows[at])} to {y.text(one.highs[at])})"


def _colours(series: Sequence[Series]) -> alt.Color:
    domain, colours = [s.name for s in series], [s.colour for s in series]
    return alt.Color("s:N", legend=None, scale=alt.Scale(domain=domain, range=colours))


def _scale(axis: Axis) -> alt.Scale:
    if axis.is_time:
        return alt.Scale(type="utc")
    if axis.is_log:
        return alt.Scale(type="log", nice=False)
    return alt.Scale(zero=axis.from_zero, nice=not axis.whole)


def _axis(axis: Axis, *, is_x: bool = False, is_named: bool = False) -> alt.Axis:
    """Marks and title; that of the upright axis lies above it, to be read without turning."""
    options: dict = {"title": axis.title, "labelFlush": False}
    if is_x:
        options |= {"grid": False, "titlePadding": 8, "labelOverlap": True}
    else:
        options |= {"titleAngle": 0, "titleAlign": "left", "titleX": 0, "titleY": -10}
    if is_named:
        return alt.Axis(**options, labelAngle=0, ticks=False)
    if axis.format:
        options["format"] = axis.format
    if axis.whole:
        options["tickMinStep"] = 1
        # Over one or two steps Vega marks halves all the same.
        options["labelExpr"] = "datum.value % 1 ? '' : datum.label"
        is_half = {"test": "datum.value % 1 != 0", "value": 0}
        options["tickWidth"] = {"condition": is_half, "value": 1}
    return alt.Axis(**options, tickCount=6 if is_x else 5)


def _legend(series: Sequence[Series]) -> list[Key]:
    return [Key(s.name, s.colour) for s in series] if len(series) > 1 else []


def _table(title: str, series: Sequence[Series], x: Axis, y: Axis) -> ShownTable:
    """A row for each place along the first axis, a column for each series."""
    places = list(dict.fromkeys(place for one in series for place in one.xs))
    columns = [dict(zip(one.xs, range(len(one.xs)), strict=True)) for one in series]

    def cell(one: Series, at: int | None) -> str:
        if at is None or one.ys[at] is None:
            return texts.NONE
        return _with_interval(one, at, y)

    rows = [
        (x.text(p), *(cell(s, c.get(p)) for s, c in zip(series, columns, strict=True)))
        for p in places
    ]
    names = [s.name for s in series] if len(series) > 1 else [y.title]
    return ShownTable((x.title, *names), rows, title)


def _draw(chart: alt.Chart | alt.LayerChart, height: int = _HEIGHT) -> Markup:
    """A drawing as SVG for a page: colours of CSS, no names that another one has too."""
    chart = chart.properties(
        width=_WIDTH, height=height, autosize=alt.AutoSizeParams(type="fit", contains="padding")
    )
    chart = chart.configure(background="transparent", font="inherit", padding=4)
    chart = chart.configure_axis(
        domainColor="var(--line)",
        gridColor="var(--grid)",
        labelColor="var(--muted)",
        labelFontSize=12,
        tickColor="var(--line)",
        titleColor="var(--muted)",
        titleFontSize=12,
        titleFontWeight="normal",
    ).configure_view(stroke=None)
    return Markup(_for_page(vl_convert.vegalite_to_svg(chart.to_dict())))


def _for_page(svg: str) -> str:
    """Makes an SVG document a part of a page.

    The words that Vega writes for screen readers name each mark; the page has a table instead,
    and shows them to those who point at a mark.
    """

    def change(tag: re.Match) -> str:
        text = tag.group()
        if _NO_MARK.search(text):
            text = re.sub(r' aria-label="[^"]*"', "", text)
        return _LEFT_OUT.sub("", text).replace(" aria-label=", " data-tip=")

    # In a tag ">" is escaped whatever the data were.
    svg = re.sub(r"<[^>]+>", change, svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
