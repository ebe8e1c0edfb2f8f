"""Drawings: what is drawn, said in the table, and kept out of the page's way."""

import re

import pytest

from pipelines.reporting.page import charts, texts
from pipelines.reporting.page.charts import Axis, Series

EPOCHS = Axis("epoch", "d", texts.count, whole=True)
SHARES = Axis("share", ".0%", texts.share, from_zero=True)
TWO = [
    Series("one", "var(--i0)", [1, 2, 3], [0.1, 0.25, 0.5]),
    Series("two", "var(--i1)", [1, 2], [0.3, 0.2]),
]


def tips(figure):
    return re.findall(r'data-tip="([^"]*)"', figure.svg)


def test_the_table_has_every_number_that_is_drawn():
    figure = charts.lines("Shares", "", TWO, EPOCHS, SHARES)
    assert figure.table.columns == ("epoch", "one", "two")
    assert figure.table.rows == [
        ("1", "10.0 %", "30.0 %"),
        ("2", "25.0 %", "20.0 %"),
        ("3", "50.0 %", "-"),
    ]
    assert {"one, epoch 3: 50.0 %", "two, epoch 2: 20.0 %"} <= {*tips(figure)}


def test_colours_are_those_of_the_page():
    figure = charts.lines("Shares", "", TWO, EPOCHS, SHARES)
    assert [(key.name, key.colour) for key in figure.legend] == [
        ("one", "var(--i0)"),
        ("two", "var(--i1)"),
    ]
    assert re.findall(r'(?:fill|stroke)="#\w+"', figure.svg) == []
    assert 'stroke="var(--i1)"' in figure.svg


@pytest.mark.parametrize("number", [2, 3])
def test_few_epochs_are_marked_once_each(number):
    epochs = list(range(1, number + 1))
    svg = charts.lines("", "", [Series("one", "var(--i0)", epochs, epochs)], EPOCHS, SHARES).svg
    assert re.findall(r">(\d+)</text>", svg) == [str(epoch) for epoch in epochs]


def test_one_series_needs_no_legend():
    assert charts.lines("Shares", "", TWO[:1], EPOCHS, SHARES).legend == []


def test_intervals_stand_in_the_table():
    series = [Series("model", "var(--model)", ["a", "b"], [0.2, 0.4], [0.1, 0.3], [0.3, 0.5])]
    figure = charts.intervals("Groups", "", series, "group", SHARES)
    assert figure.table.columns == ("group", "share")
    assert figure.table.rows == [
        ("a", "20.0 % (10.0 % to 30.0 %)"),
        ("b", "40.0 % (30.0 % to 50.0 %)"),
    ]


def test_a_bar_between_two_edges():
    figure = charts.histogram(
        "Lengths", "", [1, 3, 9], [5, 2], Axis("clicks", text=texts.count), Axis("users", text=str)
    )
    assert figure.table.rows == [("1 to 3", "5.0"), ("3 to 9", "2.0")]


def test_bars_keep_the_order_of_the_names():
    series = [Series("m", "var(--model)", ["top", "middle", "last"], [3, 2, 1])]
    figure = charts.bars("Deciles", "", series, Axis("decile", text=str), Axis("slots"))
    labels = re.findall(r">(top|middle|last)</text>", figure.svg)
    assert labels == ["top", "middle", "last"]


@pytest.mark.parametrize("value", [float("nan"), None])
def test_what_is_no_number_is_not_drawn(value):
    series = [Series("one", "var(--i0)", [1, 2], [0.5, value])]
    figure = charts.lines("Shares", "", series, EPOCHS, SHARES)
    assert [row[1] for row in figure.table.rows] == ["50.0 %", "-"]
    assert "epoch 1: 50.0 %" in tips(figure)
    assert not any(tip.startswith("epoch 2") for tip in tips(figure))


def test_names_of_the_data_are_no_markup_and_stay_whole():
    name = '<b>x</b> role="y"'
    figure = charts.intervals(
        "Groups", "", [Series("m", "var(--model)", [name], [0.5])], "group", SHARES
    )
    assert "<b>" not in figure.svg
    assert '&lt;b&gt;x&lt;/b&gt; role="y"' in figure.svg
    assert "&lt;b&gt;x&lt;/b&gt; role=&quot;y&quot;: 50.0 %" in tips(figure)[0]


def test_no_drawing_has_names_of_its_own():
    """Names are the page's: two drawings with one name would take each other's parts."""
    svg = charts.lines("Shares", "", TWO, EPOCHS, SHARES).svg
    assert svg.count("<path") > 5
    assert re.findall(r'\bid="|url\(', svg) == []
