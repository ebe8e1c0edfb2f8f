"""Tables of callers as Parquet, and results as pandas or, without it, Arrow."""

import importlib.util

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.api import tables
from recall.errors import InputError

COLUMNS = {"user_id": ["a", "b"], "item_id": [1, 2], "timestamp": [10, 20]}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_any_table_gives_the_same_file(make, tmp_path):
    table = tables.to_arrow(make(COLUMNS), "events")
    tables.write_parquet(table, tmp_path / "events.parquet")
    assert pq.read_table(tmp_path / "events.parquet").to_pydict() == COLUMNS


def test_the_index_of_pandas_is_no_column():
    frame = pd.DataFrame(COLUMNS, index=[7, 9])
    assert tables.to_arrow(frame, "events").column_names == list(COLUMNS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"user_id": [1]}, "The events are of the type dict. Give a pandas"),
        (
            pd.DataFrame({"x": [1, "a", object()]}),
            "have a column that Arrow cannot hold: .*type str",
        ),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "Duplicate column names found"),
    ],
)
def test_what_is_no_table(value, text):
    with pytest.raises(InputError, match=text):
        tables.to_arrow(value, "events")


def test_columns_that_are_missing_or_no_ids():
    names = {"user_column": "user_id", "item_column": "item_id"}
    tables.check_columns(pa.table(COLUMNS), "events", names)
    with pytest.raises(InputError, match="no column 'who', only user_id, item_id, timestamp"):
        tables.check_columns(pa.table(COLUMNS), "events", {"user_column": "who"})
    with pytest.raises(InputError, match="of the type list<"):
        tables.check_columns(pa.table({"user_id": [["a"]]}), "events", {"user_column": "user_id"})
    with pytest.raises(InputError, match="The events have no rows"):
        tables.check_columns(pa.table(COLUMNS).slice(0, 0), "events", names)


def test_results_are_pandas_where_it_is_installed(monkeypatch):
    assert isinstance(tables.to_table({"a": [1]}), pd.DataFrame)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert tables.to_table({"a": [1]}).equals(pa.table({"a": [1]}))
