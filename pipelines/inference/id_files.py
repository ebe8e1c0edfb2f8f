"""Files that name users or items: a table with a column of ids. Imports no TensorFlow."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.column_types import has_text, to_text
from pipelines.sources.tables import table_files
from recall.errors import InputError


class IdFile(NamedTuple):
    """A text file or Parquet, a folder or a pattern of such.

    Attributes:
        path: Where it is.
        column: Name of the column of ids; others are not read.
    """

    path: str
    column: str

    def fingerprint(self) -> str:
        """Changes when what is read changes."""
        return table_files.fingerprint(table_files.list_files(self.path), [self.column])

    def read(self) -> pa.Array:
        """The distinct ids, in the order of the file.

        Raises:
            InputError: The file cannot be read, lacks the column, has a row without an id, or
                no row.
        """
        parts = []
        for table in table_files.open_tables(self.path):
            table.require([self.column], "Name the column of ids.")
            for rows, batch in table.read_rows([self.column], BadRows()):
                ids = to_text(batch.column(self.column), str(table.path), self.column)
                empty = np.flatnonzero(~has_text(ids))
                if len(empty):
                    raise InputError(
                        f"Data row {int(rows[empty[0]]) + 1} of {table.path}: column "
                        f"{self.column!r} is empty. Give every row an id."
                    )
                parts.append(ids)
        if not sum(map(len, parts)):
            raise InputError(f"{self.path} names nobody: it has no rows.")
        return pc.unique(pa.chunked_array(parts, pa.string()))
