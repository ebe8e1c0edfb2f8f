"""Flags that name a log and say how it is read, for `recall run` and `recall ingest`.

Imports none of the jobs and no TensorFlow.
"""

import os
from typing import TYPE_CHECKING, Any

from absl import flags

from pipelines.commands.shared import table_flags
from pipelines.commands.shared.flags import FlagSpec, UsageError
from recall.errors import InputError
from serving.stores import urls

if TYPE_CHECKING:
    from pipelines.sources.events import EventSource
    from pipelines.sources.items import ItemsFile

EVENTS = {
    "events": FlagSpec(
        help="The interaction log: a text file (.csv, .tsv, .txt, .dat, .inter ..., also .gz, "
        ".zst, .bz2, .xz, .zip) or .parquet, a folder or a pattern, with the columns user_id, "
        "item_id, timestamp and optionally split; mind:FILE for MIND's behaviors.tsv; tfds:NAME "
        "for a TensorFlow dataset (for example tfds:movielens/1m-ratings); or "
        "synthetic:users=2000,items=500 for a generated log.",
        value="LOG",
        kind="log",
        store="url",
    ),
    "items": FlagSpec(
        help="Optional file about the items, in the same formats, columns item_id, category and "
        "optionally title; several categories are separated by |.",
        value="FILE",
        kind="path",
        store="url",
    ),
}
USERS = {
    "users": FlagSpec(
        help="Optional file about the users, in the same formats: the column user_id and those of "
        "the features of users that the settings declare.",
        value="FILE",
        kind="path",
        store="url",
    ),
    "users_id_column": FlagSpec(
        help="Column of ids in the users file.", value="NAME", default="user_id"
    ),
}
READING = {
    "events_name": FlagSpec(
        help="What the log is called in the report and the model card, for example 'Shop, 2024'. "
        "Without it: what --events says.",
        value="NAME",
        default="",
    ),
    "max_bad_rows": FlagSpec(
        help="Bad rows (no id, a time that cannot be read) to skip and count before giving up.",
        value="N",
        default=0,
        kind="integer",
        minimum=0,
    ),
    "user_column": FlagSpec(help="Name of the user column.", value="NAME", default="user_id"),
    "item_column": FlagSpec(help="Name of the item column.", value="NAME", default="item_id"),
    "timestamp_column": FlagSpec(
        help="Name of the timestamp column; `none` where the log has none and its rows are in the "
        "order of time.",
        value="NAME",
        default="timestamp",
    ),
    "timestamp_unit": FlagSpec(
        help="Unit of timestamps that are numbers: s, ms, us or ns; auto tells it by their size, "
        "file by file; mixed tells it number by number; none takes them as they are.",
        value="UNIT",
        default="auto",
        choices=("auto", "mixed", "none", "s", "ms", "us", "ns"),
    ),
    "timestamp_format": FlagSpec(
        help="Form of timestamps that are neither numbers nor ISO 8601, as for Python's strptime, "
        "for example '%m/%d/%Y %I:%M:%S %p'.",
        value="FORM",
        default="",
    ),
    "null_markers": FlagSpec(
        help="What becomes of user and item ids such as nan, None, NULL, NA and \\N, which "
        "exporters write for a missing value: bad makes bad rows of them, ids takes them as ids.",
        value="CHOICE",
        default="bad",
        choices=("bad", "ids"),
    ),
    "data_dir": FlagSpec(
        help="Where prepared TFDS datasets lie; only for tfds:NAME.", value="DIR", kind="path"
    ),
    "split_column": FlagSpec(
        help="Name of the split column, used by the protocol `provided`.",
        value="NAME",
        default="split",
    ),
    "event_type_column": FlagSpec(
        help="Name of a column with the kind of each event, for example view, cart, purchase; the "
        "kind `impression` is an item that was shown. Without it all events are of one kind.",
        value="NAME",
        default="",
    ),
    "weight_column": FlagSpec(
        help="Name of a column with how much each event counts in training, a number >= 0.",
        value="NAME",
        default="",
    ),
    **table_flags.LOG,
    **table_flags.ITEMS,
}

HISTORY_READING = (
    "max_bad_rows",
    "user_column",
    "item_column",
    "timestamp_column",
    "timestamp_unit",
    "timestamp_format",
    "null_markers",
    "data_dir",
    "event_type_column",
)
"""Those of `READING` that matter to a command that only wants to know who clicked what."""


def open_log(values: flags.FlagValues) -> "EventSource":
    """The source named by --events.

    Raises:
        UsageError: A flag is not for this source.
        InputError: There is no such log, or a value makes no sense.
    """
    from pipelines.ingestion.open_log import open_events
    from pipelines.sources.users import UsersFile

    _check_output(values)
    source = open_events(values.events, **read_log(values))
    # `recall recommend` and `embed` have a --users of their own: who is asked about.
    path = values["users"].value if "users_id_column" in values else None
    if path is not None:
        if not urls.is_url(path) and not _is_readable(path):
            raise InputError(f"--users={path} is no file, or cannot be read. Check the path.")
        source.users_file = UsersFile(path, values.users_id_column)
    return source


def _check_output(values: flags.FlagValues) -> None:
    """Refuses an output in the folder of the log: the next reading would take it for a part.

    Raises:
        InputError: It lies there.
    """
    output = values["output"].value if "output" in values else None
    if not output or not values.events or not os.path.isdir(values.events):
        return
    log, written = os.path.realpath(values.events), os.path.realpath(output)
    if written != log and os.path.commonpath([log, written]) == log:
        raise InputError(
            f"--output={output} lies in the folder of the log, --events={values.events}, and would "
            "be read as a part of it the next time. Choose another --output."
        )


def read_log(values: flags.FlagValues) -> dict[str, Any]:
    """How the log is read: arguments of `open_events` beside the log itself.

    Raises:
        UsageError: A flag is not for this source.
        InputError: A value makes no sense.
    """
    from pipelines.sources.columns.read_options import ReadOptions
    from pipelines.sources.columns.where import parse_conditions
    from pipelines.sources.events import EventColumns

    log = values["events"].value if "events" in values else None
    if values.data_dir and log is not None and not log.startswith("tfds:"):
        raise UsageError(f"--data_dir is for tfds:NAME, not for --events={log}.")
    return {
        "columns": EventColumns(
            values.user_column,
            values.item_column,
            values.timestamp_column,
            _value(values, "split_column"),
            _value(values, "event_type_column"),
            _value(values, "weight_column"),
        ),
        "data_dir": values.data_dir,
        "options": ReadOptions(values.timestamp_unit, values.timestamp_format, values.null_markers),
        "text": table_flags.read_text_options(values),
        "where": parse_conditions(values.where),
        "name": _value(values, "events_name"),
    }


def _value(values: flags.FlagValues, name: str) -> Any:
    """A flag that not all of these commands have."""
    return values[name].value if name in values else READING[name].default


def _is_readable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)


def find_items_file(values: flags.FlagValues) -> "ItemsFile | None":
    """The file named by --items, None without one.

    Raises:
        InputError: There is none of that name, or a value makes no sense.
    """
    path = values["items"].value
    in_store = urls.is_url(path)  # Who reads it tells whether it is there.
    if path is not None and not in_store and not _is_readable(path):
        raise InputError(f"--items={path} is no file, or cannot be read. Check the path.")
    return table_flags.read_items_file(values, path)
