"""What a search found: a table for the terminal, `trials.json`, and a plot."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import altair as alt
import vl_convert

from pipelines.publishing import summary
from pipelines.tuning.space import Dimension
from serving.release import storage

if TYPE_CHECKING:
    import optuna

TABLE_NAME, PLOT_NAME = "trials.json", "tuning.svg"
_SHOWN = 10
_MOST_COLUMNS = 110
"""Characters of a line of a terminal that is not narrow."""
_INDENT = 4
_TIME = len("12:00:00 ")
"""What stands before a line of the log."""
_WIDTH, _HEIGHT, _COLUMNS = 230, 170, 3
_TEAL, _GREY = "#0f766e", "#94a3b8"


class TrialRow(NamedTuple):
    """One finished trial.

    Attributes:
        number: From 0, in the order of their beginning.
        value: Its best value of the metric.
        settings: Name -> value.
        epochs: It trained.
        seconds: It took.
        was_cut: Whether it was ended before its training was.
    """

    number: int
    value: float
    settings: dict[str, Any]
    epochs: int
    seconds: float
    was_cut: bool


def rows_of(study: "optuna.Study") -> list[TrialRow]:
    """The finished trials, best first."""
    rows = [
        TrialRow(
            trial.number,
            trial.value,
            trial.user_attrs["settings"],
            trial.user_attrs["epochs"],
            trial.user_attrs["seconds"],
            trial.user_attrs["was_cut"],
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state.name == "COMPLETE"
    ]
    return sorted(rows, key=lambda row: (-row.value, row.number))


def wrap(text: str) -> str:
    """A text of the log in lines of a terminal; words stay whole."""
    lines = textwrap.wrap(
        text,
        _MOST_COLUMNS - _TIME,
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def table(rows: Sequence[TrialRow], metric: str) -> str:
    """The best trials for a terminal, and where the first one, the defaults, stands."""
    names = list(rows[0].settings)
    heads = ["trial", metric, "epochs", "s", *(name.partition(".")[2] for name in names)]
    shown = []
    for row in rows[:_SHOWN]:
        mark = "*" if row.was_cut else ""
        values = [_show(row.settings[name]) for name in names]
        shown.append(
            [
                str(row.number),
                f"{row.value:.4f}",
                f"{row.epochs}{mark}",
                f"{row.seconds:.0f}",
                *values,
            ]
        )
    lines = [_align(heads, shown)]
    if any(row.was_cut for row in rows[:_SHOWN]):
        lines.append("* ended early: hopeless, or the time was over")
    first = next((place for place, row in enumerate(rows, 1) if row.number == 0), None)
    if first is not None:
        lines.append(
            f"Trial 0, the settings it began with: {rows[first - 1].value:.4f}, "
            f"place {first} of {len(rows)}."
        )
    return "\n".join(lines)


def _align(heads: list[str], rows: list[list[str]]) -> str:
    """Both as columns; where those are too wide for a terminal, long heads take two lines."""
    text = summary.align([heads, *rows])
    if max(map(len, text.splitlines())) <= _MOST_COLUMNS:
        return text
    first, second = [], []
    for head in heads:
        start, _, rest = head.partition("_")
        first.append(f"{start}_" if rest else "")
        second.append(rest or head)
    return summary.align([first, second, *rows])


def _show(value: Any) -> str:
    if value is None:
        return "auto"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(
    output_dir: Path, rows: Sequence[TrialRow], space: Sequence[Dimension], metric: str
) -> None:
    """Writes the table as JSON, and the plot."""
    document = {"metric": metric, "trials": [row._asdict() for row in rows]}
    storage.write_json(output_dir / TABLE_NAME, document)
    svg = vl_convert.vegalite_to_svg(chart(rows, space, metric).to_dict())
    (output_dir / PLOT_NAME).write_text(svg, encoding="utf-8")


def chart(rows: Sequence[TrialRow], space: Sequence[Dimension], metric: str) -> alt.Chart:
    """The search over its trials, and the metric against every setting."""
    ordered, best, points = sorted(rows), float("-inf"), []
    for row in ordered:
        best = max(best, row.value)
        values = {f"s{n}": _plotted(d, row.settings[d.name]) for n, d in enumerate(space)}
        points.append({"trial": row.number, metric: row.value, "best so far": best, **values})
    data = alt.Data(values=points)
    y = alt.Y(f"{_escaped(metric)}:Q", title=metric, scale=alt.Scale(zero=False))
    base = alt.Chart(data)
    dots = base.mark_circle(size=60, color=_GREY).encode(alt.X("trial:Q", axis=_whole_axis()), y)
    line = base.mark_line(interpolate="step-after", color=_TEAL, strokeWidth=2).encode(
        alt.X("trial:Q"), alt.Y("best so far:Q", scale=alt.Scale(zero=False))
    )
    search = (dots + line).properties(
        width=_WIDTH, height=_HEIGHT, title="each trial, and the best so far"
    )
    charts = [search, *(_of_setting(base, n, d, y) for n, d in enumerate(space))]
    lines = [alt.hconcat(*charts[i : i + _COLUMNS]) for i in range(0, len(charts), _COLUMNS)]
    return alt.vconcat(*lines).configure_view(stroke=None).configure(background="white")


def _of_setting(base: alt.Chart, number: int, dimension: Dimension, y: alt.Y) -> alt.Chart:
    if dimension.choices:
        order = [_plotted(dimension, value) for value in dimension.choices]
        x = alt.X(f"s{number}:N", title=None, sort=order, axis=alt.Axis(labelAngle=0))
    else:
        kind = "log" if dimension.is_log else "linear"
        x = alt.X(f"s{number}:Q", title=None, scale=alt.Scale(type=kind, zero=False, nice=False))
    return (
        base.mark_circle(size=60, color=_TEAL, opacity=0.7)
        .encode(x, y)
        .properties(width=_WIDTH, height=_HEIGHT, title=dimension.name)
    )


def _plotted(dimension: Dimension, value: Any) -> Any:
    """A value on its axis; choices are names there, also where they are numbers."""
    return _show(value) if dimension.choices else value


def _escaped(metric: str) -> str:
    return metric.replace(".", "\\.")


def _whole_axis() -> alt.Axis:
    return alt.Axis(tickMinStep=1, format="d")
