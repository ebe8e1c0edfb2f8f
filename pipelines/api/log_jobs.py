"""Commands that read a log, which may be a table of the caller."""

import functools
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.api import paths, settings, tables
from pipelines.commands import ingest as ingest_command
from pipelines.commands import run as run_command
from pipelines.processes import jobs
from recall.errors import InputError
from serving.api.request_fields import Kind, read_value

if TYPE_CHECKING:
    from pipelines.api.settings import ConfigLike

_EVENT_COLUMNS = {
    "user_column": "user_id",
    "item_column": "item_id",
    "timestamp_column": "timestamp",
}
_OPTIONAL_COLUMNS = ("event_type_column", "weight_column")
_NO_TIME = "none"
_NAME = "events_name"
_USERS = "users"
_TABLES = ("events", "items", _USERS)
_FLAG = re.compile(r"--(\w+)(=?)")
_COMMAND = re.compile(r"(`recall [^`]*`)")


def run_all(
    events: Any,
    items: Any,
    output: Path,
    config: "ConfigLike",
    reading: Mapping[str, Any],
    *,
    show: bool,
) -> None:
    """`recall run`; the arguments are those of `fitting.fit`."""
    _call("run", run_command.COMMAND.flags, events, items, output, config, reading, show)


def ingest(
    events: Any, examples_dir: Path, config: "ConfigLike", *, show: bool, **reading: Any
) -> None:
    """Makes examples of a log, as `recall ingest`; the arguments are those of `fit`."""
    flags = ingest_command.COMMAND.flags
    _call("ingest", flags, events, None, examples_dir, config, reading, show)


def _call(
    command: str,
    flags: Mapping[str, Any],
    events: Any,
    items: Any,
    output: Path,
    config: "ConfigLike",
    reading: Mapping[str, Any],
    show: bool,
) -> None:
    """Runs a command that reads a log."""
    reading = {name: value for name, value in reading.items() if value is not None}
    if not tables.is_path(events):
        reading = {_NAME: tables.name_of(events, "events"), **reading}
    users = None if tables.is_path(reading.get(_USERS, "")) else reading.pop(_USERS)
    words = [command, f"--output={output}", *_flag_words(flags, reading)]
    with tempfile.TemporaryDirectory(prefix="recall-tables-") as temporary:
        settings_file = Path(temporary) / "config.json"
        settings_file.write_text(settings.read(config).to_json(), encoding="utf-8")
        words.append(f"--config={settings_file}")
        words.append(f"--events={_as_file(events, 'events', temporary, _event_columns(reading))}")
        if items is not None:
            columns = {"items_id_column": reading.get("items_id_column", "item_id")}
            words.append(f"--items={_as_file(items, 'items', temporary, columns)}")
        if users is not None:
            columns = {"user_column": reading.get("user_column", "user_id")}
            words.append(f"--users={_as_file(users, _USERS, temporary, columns)}")
        as_arguments = functools.partial(_as_arguments, folder=temporary, flags=flags)
        try:
            jobs.run(words, show=show, reword=as_arguments)
        except InputError as error:
            raise InputError(as_arguments(str(error))) from None


def _as_arguments(text: str, folder: str, flags: Mapping[str, Any]) -> str:
    """A line of a command as one of a call: arguments for flags, tables for their files."""
    for what in _TABLES:
        text = text.replace(str(_table_file(folder, what)), f"the {what}")

    def argument(match: re.Match[str]) -> str:
        name, equals = match.groups()
        if name not in flags:
            return match[0]
        return f"{name}=True" if flags[name].kind == "boolean" else f"{name}{equals}"

    # What follows `recall` is for a terminal.
    parts = _COMMAND.split(text)
    text = "".join(p if _COMMAND.fullmatch(p) else _FLAG.sub(argument, p) for p in parts)
    return text[0].upper() + text[1:] if text.startswith("the ") else text


def _event_columns(reading: Mapping[str, Any]) -> dict[str, str]:
    """Columns that a table of events must have, by the argument that names them."""
    columns = {
        argument: str(reading.get(argument, name)) for argument, name in _EVENT_COLUMNS.items()
    }
    if columns["timestamp_column"] == _NO_TIME:
        del columns["timestamp_column"]
    return columns | {name: str(reading[name]) for name in _OPTIONAL_COLUMNS if reading.get(name)}


def _as_file(value: Any, what: str, folder: str, columns: Mapping[str, str]) -> str:
    """What a flag takes: a path as it is, a table as a Parquet file."""
    if tables.is_path(value):
        return str(paths.read(what, value)) if os.fspath(value) == "" else os.fspath(value)
    table = tables.to_arrow(value, what)
    tables.check_columns(table, what, columns)
    path = _table_file(folder, what)
    tables.write_parquet(table, path)
    return str(path)


def _table_file(folder: str, what: str) -> Path:
    return Path(folder) / f"{what}.parquet"


def _flag_words(flags: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Arguments as flags.

    Raises:
        InputError: The command has no such flag, or a value is of another kind.
    """
    own = {"events", "items", "output", "config", "set"}
    words = []
    for name, value in given.items():
        if name not in flags or name in own:
            takes = ", ".join(sorted(flags.keys() - own))
            raise InputError(f"There is no argument {name!r}. There are: {takes}.")
        if flags[name].kind == "boolean":
            words.append(f"--{name}={read_value(name, Kind.SWITCH, value)}")
        elif flags[name].kind == "repeated":
            values = read_value(name, Kind.TEXTS, [value] if isinstance(value, str) else value)
            words += [f"--{name}={one}" for one in values]
        elif isinstance(value, list | tuple):
            words.append(f"--{name}={','.join(map(str, value))}")
        else:
            words.append(f"--{name}={value}")
    return words
