"""Columns in the names of folders, as Hive, Spark and DuckDB lay out a table.

`log/split=train/day=2024-01-01/part-0.parquet` has the columns `split` and
`day`. Their values are text: `user_id=007` is the user "007". Imports no
TensorFlow and opens no file.
"""

import glob
import os
from pathlib import Path
from urllib.parse import unquote

from serving.stores import urls
from serving.stores.store_path import AnyPath, StorePath

_NULL = "__HIVE_DEFAULT_PARTITION__"


def root_of(spec: str) -> AnyPath:
    """The folder below which names of folders are columns.

    That is a folder itself, or what stands before the first `*`, `?` or `[` of
    a pattern; a file named directly has no such columns.

    >>> root_of("log/split=*/*.csv").as_posix()
    'log'
    """
    if urls.is_url(spec):
        return StorePath(urls.split_pattern(spec)[0])
    if not os.path.exists(spec) and glob.has_magic(spec):
        parts = Path(spec).parts
        first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
        return Path(*parts[:first])
    return Path(spec)


def read_partitions(path: AnyPath, root: AnyPath) -> dict[str, str | None]:
    """Name -> value of the columns that the folders between `root` and `path` give.

    >>> read_partitions(Path("log/split=train/who=a%20b/0.csv"), Path("log"))
    {'split': 'train', 'who': 'a b'}
    """
    if not path.is_relative_to(root):
        return {}
    columns = {}
    for part in path.relative_to(root).parts[:-1]:
        name, equals, value = part.partition("=")
        if equals and name:
            columns[unquote(name)] = None if value == _NULL else unquote(value)
    return columns
