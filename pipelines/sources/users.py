"""The users file: values of the declared features by raw user id. Imports no TensorFlow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.sources import feature_values
from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.column_types import has_text, to_text
from pipelines.sources.tables import table_files
from pipelines.sources.tables.text_format import TextOptions
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import raw_type

USERS_ID = "user_id"

_REMEDY = (
    "Name the column of ids with --users_id_column; `column` in `features.columns` says what a "
    "feature is called in the file."
)


class UsersFile(NamedTuple):
    """A users file and how it is to be read.

    Attributes:
        path: A file, folder or pattern.
        id_column: Name of the column of ids.
    """

    path: str
    id_column: str = USERS_ID

    def fingerprint(self) -> str:
        """SHA-256 over the bytes of the file and what says how it is read.

        Raises:
            InputError: It cannot be read.
        """
        return table_files.fingerprint(table_files.list_files(self.path), [self.id_column])

    def read(self, features: Sequence[FeatureColumn]) -> pa.Table:
        """The users, in the order of the file.

        Args:
            features: Declared features of users.

        Returns:
            Table with `user_id` and a column of `raw_type` for every feature.

        Raises:
            InputError: A file cannot be read, lacks a column, repeats a user, or has a value
                of another kind.
        """
        schema = pa.schema([(USERS_ID, pa.string()), *((c.name, raw_type(c)) for c in features)])
        batches, places = [], []
        for table in table_files.open_tables(self.path, TextOptions(prefix="users_")):
            named = list(dict.fromkeys([self.id_column, *(c.source for c in features)]))
            table.require(named, _REMEDY)
            for rows, batch in table.read_rows(named, BadRows()):
                file = str(table.path)
                columns = [to_text(batch[self.id_column], file, self.id_column)]
                columns += [
                    feature_values.read_feature(c, batch[c.source], rows, file) for c in features
                ]
                batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
                places += [(file, row) for row in rows.tolist()]
        users = pa.Table.from_batches(batches, schema=schema).combine_chunks()
        self._check_ids(users[USERS_ID].combine_chunks(), places)
        return users

    def _check_ids(self, ids: pa.StringArray, places: Sequence[tuple[str, int]]) -> None:
        """Refuses empty and repeated ids."""
        if len(ids) == 0:
            raise InputError(f"{self.path} has no users. Give a file with at least one.")
        empty = np.flatnonzero(~has_text(ids))
        if len(empty):
            file, row = places[empty[0]]
            raise InputError(
                f"Data row {row + 1} of {file}: column {self.id_column!r} is empty. Give every "
                "user an id."
            )
        codes = ids.dictionary_encode().indices.to_numpy()
        _, first = np.unique(codes, return_index=True)
        if len(first) < len(ids):
            repeated = np.setdiff1d(np.arange(len(ids)), first)[0]
            file, row = places[repeated]
            raise InputError(
                f"Data row {row + 1} of {file} repeats the user {ids[repeated].as_py()!r}. Keep "
                "one row per user."
            )
