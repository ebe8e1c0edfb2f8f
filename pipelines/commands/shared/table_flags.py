"""Flags that say how tables in text files are written, and what an items file's columns are.

Imports none of the jobs and no TensorFlow.
"""

from typing import TYPE_CHECKING

from absl import flags

from pipelines.commands.shared.flags import FlagSpec
from recall.errors import InputError

if TYPE_CHECKING:
    from pipelines.sources.items import ItemsFile
    from pipelines.sources.tables.text_format import TextOptions


def text_flags(prefix: str, what: str) -> dict[str, FlagSpec]:
    """Flags about text files.

    Args:
        prefix: What their names begin with, "" or "items_".
        what: The file, for the help.
    """
    return {
        f"{prefix}columns": FlagSpec(
            help=f"Names of all columns, in order, of {what} that has no header.",
            value="NAMES",
            default=(),
            kind="list",
        ),
        f"{prefix}separator": FlagSpec(
            help=f"What stands between the fields of {what} in text: ; or | or :: or tab or space. "
            "Without it, the ending of the name and the first line tell.",
            value="TEXT",
        ),
        f"{prefix}quoting": FlagSpec(
            help=f"Whether double quotes enclose fields in {what}: true, false, or auto: where the "
            "separator is , or ; and then lines that look swallowed by a stray quote are bad rows.",
            value="MODE",
            default="auto",
            choices=("auto", "true", "false"),
        ),
        f"{prefix}escape": FlagSpec(
            help=f"Character before a quote inside a quoted field of {what}, \\ for Spark's CSV "
            "files.",
            value="CHARACTER",
        ),
        f"{prefix}encoding": FlagSpec(
            help=f"Encoding of {what} in text, for example latin-1. Without it UTF-8, or UTF-16 "
            "where the file begins with its mark.",
            value="NAME",
        ),
    }


LOG = {
    **text_flags("", "a log"),
    "where": FlagSpec(
        help="Rows of the log that are events: event=purchase, or event!=view, or several values "
        "as event=purchase|cart. Several conditions, all to be met, by commas or by several flags; "
        "\\, is a comma of a value.",
        value="COLUMN=VALUE",
        default=(),
        kind="repeated",
    ),
}
ITEMS = {
    "items_id_column": FlagSpec(
        help="Column of ids in the items file.", value="NAME", default="item_id"
    ),
    "items_category_column": FlagSpec(
        help="Column of categories in the items file, or several, separated by commas. Of several "
        "that hold 0 and 1 the names are the categories.",
        value="NAMES",
        default="category",
    ),
    "items_title_column": FlagSpec(
        help="Column of titles in the items file.", value="NAME", default="title"
    ),
    "items_category_separator": FlagSpec(
        help="What stands between several categories of an item.", value="TEXT", default="|"
    ),
    **text_flags("items_", "an items file"),
}


def read_text_options(values: flags.FlagValues, prefix: str = "") -> "TextOptions":
    """`TextOptions` of the flags.

    Raises:
        InputError: A value makes no sense.
    """
    from pipelines.sources.tables import text_format

    return text_format.parse_options(
        prefix,
        columns=values[f"{prefix}columns"].value,
        separator=values[f"{prefix}separator"].value,
        quoting=values[f"{prefix}quoting"].value,
        escape=values[f"{prefix}escape"].value,
        encoding=values[f"{prefix}encoding"].value,
    )


def read_items_file(values: flags.FlagValues, path: str | None) -> "ItemsFile | None":
    """`ItemsFile` of the flags, None where there is no file.

    Raises:
        InputError: A value makes no sense.
    """
    from pipelines.sources.items import ItemColumns, ItemsFile

    options = read_text_options(values, "items_")
    if path is None:
        return None
    if not values.items_category_separator:
        raise InputError("--items_category_separator must be at least one character.")
    columns = ItemColumns(
        values.items_id_column,
        values.items_category_column,
        values.items_title_column,
        values.items_category_separator,
    )
    return ItemsFile(path, columns, options)
