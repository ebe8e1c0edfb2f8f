"""Tables of callers as files that the jobs read, and results as tables for callers.

Imports no TensorFlow. A table is a `pandas.DataFrame`, a `polars.DataFrame`, a `pyarrow.Table`,
or anything else that gives itself as Arrow (`__arrow_c_stream__`). Results are a
`pandas.DataFrame` where pandas is installed, else a `pyarrow.Table`.
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from recall.errors import InputError

if TYPE_CHECKING:
    Table = Any
    """A `pandas.DataFrame` where pandas is installed, else a `pyarrow.Table`."""

_NO_IDS = (pa.types.is_nested, pa.types.is_boolean, pa.types.is_temporal)
"""Types of columns whose values are no ids."""


def is_path(value: Any) -> bool:
    """Whether a log is given by its path or its name, not as a table."""
    return isinstance(value, str | os.PathLike)


def to_arrow(table: Any, what: str) -> pa.Table:
    """A caller's table as Arrow.

    Raises:
        InputError: It is none.
    """
    if isinstance(table, pa.Table):
        return table
    kind = type(table)
    try:
        if kind.__module__.split(".")[0] == "pandas" and hasattr(table, "columns"):
            return pa.Table.from_pandas(table, preserve_index=False)
        if hasattr(table, "__arrow_c_stream__") and hasattr(table, "columns"):
            return pa.table(table)
    except (ValueError, TypeError, NotImplementedError) as error:  # Arrow's own are such.
        reason = " ".join(": ".join(map(str, error.args)).split())
        raise InputError(f"The {what} have a column that Arrow cannot hold: {reason}.") from error
    given = "None" if table is None else f"of the type {kind.__name__}"
    raise InputError(f"The {what} are {given}. Give a pandas, polars or pyarrow table, or a path.")


def check_columns(table: pa.Table, what: str, columns: Mapping[str, str | None]) -> None:
    """Refuses a table without the columns that are needed.

    Args:
        table: As Arrow.
        what: For the error: `events` or `items`.
        columns: Argument that names it -> name of the column.

    Raises:
        InputError: One is missing, or holds what is no id.
    """
    has = ", ".join(table.column_names)
    for argument, name in columns.items():
        if name not in table.column_names:
            raise InputError(
                f"The {what} have no column {name!r}, only {has}. Name yours by {argument}='...'."
            )
        kind = table.schema.field(name).type
        if argument in ("user_column", "item_column", "items_id_column") and any(
            is_kind(kind) for is_kind in _NO_IDS
        ):
            raise InputError(
                f"The column {name!r} of the {what} is of the type {kind}; ids are texts or whole "
                f"numbers. Name another by {argument}='...'."
            )
    if not table.num_rows:
        raise InputError(f"The {what} have no rows.")


def name_of(table: Any, what: str) -> str:
    """What people call a caller's table: `the pandas table of events`."""
    library = {"pandas": "pandas", "polars": "polars"}.get(type(table).__module__.split(".")[0])
    return f"the {library or 'Arrow'} table of {what}"


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes a table; the same table gives the same bytes, so that a job knows it again."""
    # The schema's metadata are pandas' own, with its version among them.
    pq.write_table(table.replace_schema_metadata(None), path)


def to_table(columns: Mapping[str, Sequence[Any]], schema: pa.Schema | None = None) -> "Table":
    """A result for the caller; see the module."""
    arrow = pa.table(dict(columns), schema=schema)
    if importlib.util.find_spec("pandas") is None:
        return arrow
    return arrow.to_pandas()
