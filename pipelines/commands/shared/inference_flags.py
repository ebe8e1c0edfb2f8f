"""Flags that `recall recommend`, `similar` and `embed` share. Imports no TensorFlow."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from pipelines.commands.shared import folders, log_flags, progress_flags, request_flags, table_flags
from pipelines.commands.shared.flags import FlagSpec, UsageError
from recall.errors import InputError

if TYPE_CHECKING:
    from pipelines.inference.id_files import IdFile
    from pipelines.inference.jobs import JobOptions, Users
    from pipelines.sources.list_files import ListFile

ALL = "all"

RELEASE = folders.flag(
    "The serving/ folder that `recall run` or `recall push` wrote; the newest release is asked.",
    store="release",
)

EVENTS = FlagSpec(
    help="The log that says what users clicked, in the formats of `recall run`; clicks that are "
    "newer than the model count too. Without it, --users=FILE says so.",
    value="LOG",
    kind="log",
    store="url",
)

USERS = FlagSpec(
    help="Which users of the log: all, or a file (.csv, .parquet ...) with the user column, and "
    "with the features of users and requests that the model looks at. Users of the file that the "
    "log lacks are users without a known item. Without --events: a file with a history for each "
    "user, .parquet with a column of lists or JSON lines (.jsonl).",
    value="all|FILE",
    default=ALL,
    kind="path",
    store="url",
    suggestions=(ALL,),
)

_NO_FILE = "No file is named. Give a path, or all."

UNKNOWN_USERS = ("popular", "skip")

OUTPUT = FlagSpec(
    help="Folder of Parquet files to write, or one file where the name ends in .parquet. It "
    "appears whole or stays as it was.",
    value="DIR",
    kind="path",
    store="result",
)

HISTORIES = FlagSpec(
    help="Column, or key, of the lists of item ids in --users=FILE, oldest first.",
    value="NAME",
    default="history",
)

READING = {name: log_flags.READING[name] for name in log_flags.HISTORY_READING} | table_flags.LOG

RUNNING = {
    "rows_per_file": FlagSpec(
        help="Users, or items, of one file of the folder: what is done anew, at most, when a "
        "killed job is given again.",
        value="N",
        default=10_000,
        kind="integer",
        minimum=1,
    ),
    **folders.REPLACE,
    **progress_flags.FLAGS,
}

_SUBJECTS = (
    "history",
    "similar_to",
    "k",
    "include_seen",
    "context",
    "with_metadata",
    "with_interests",
)
"""Fields of a request that are not the same for everybody, or no matter of a file."""

FILTERS = request_flags.request_flags(_SUBJECTS)

ITEMS_WHERE = "items_where"
"""The field `where` as a flag of commands whose `--where` says which rows of a log are events."""

FILTERS_BESIDE_A_LOG = {ITEMS_WHERE if n == "where" else n: spec for n, spec in FILTERS.items()}
"""The same flags for commands that read a log."""


def k_flag(help_text: str) -> FlagSpec:
    """How many items everybody gets."""
    return FlagSpec(help=help_text, value="N", default=200, kind="integer", minimum=1, maximum=1000)


def read_fields(values: flags.FlagValues, names: Sequence[str], subject: str) -> Mapping[str, Any]:
    """Fields of the request that everybody is asked with.

    Args:
        values: Of the command line.
        names: Flags that are fields.
        subject: The field that says who is asked about.

    Raises:
        InputError: A value makes no sense.
    """
    from pipelines.clients import query

    given = {
        "where" if name == ITEMS_WHERE else name: value
        for name, value in request_flags.given(values, names).items()
    }
    with naming_items_where() if ITEMS_WHERE in names else contextlib.nullcontext():
        request = query.build_request({subject: ["an item"], **given})
    return {name: getattr(request, name) for name in given}


@contextlib.contextmanager
def naming_items_where() -> Iterator[None]:
    """Calls the field `where` by its flag in what is refused in the block."""
    try:
        yield
    except InputError as error:
        text = str(error).replace("--where", f"--{ITEMS_WHERE}")
        text = re.sub(r"`where(?=[.`])", f"`{ITEMS_WHERE}", text)
        raise InputError(text) from error


def check_users(values: flags.FlagValues) -> None:
    """Refuses flags that do not say who, or that speak of what is not given.

    Raises:
        UsageError: As said.
    """
    if values.events is not None:
        if values["history_column"].present:
            raise UsageError(
                "--history_column has no meaning with --events: histories are those of the log."
            )
        return
    if values.users == ALL:
        raise UsageError("Give --events=LOG, or --users=FILE with a history for each user.")
    for name in READING:
        if name != "user_column" and values[name].present:
            raise UsageError(f"--{name} is about a log; give --events=LOG, too.")


def read_users(values: flags.FlagValues) -> "Users | ListFile":
    """The users of --events and --users, or those of --users with their histories.

    Raises:
        InputError: There is no such log or file.
    """
    from pipelines.inference import jobs
    from pipelines.sources.list_files import ListFile

    if values.events is None:
        if not values.users:
            raise InputError(_NO_FILE)
        return ListFile(values.users, values.user_column, values.history_column)
    return jobs.Users(
        log_flags.open_log(values),
        read_ids(values.users, values.user_column),
        values.max_bad_rows,
    )


def read_ids(path: str, column: str) -> "IdFile | None":
    """The file of ids that a flag names; None for `all`.

    Raises:
        InputError: It names nothing.
    """
    from pipelines.inference.id_files import IdFile

    if not path:
        raise InputError(_NO_FILE)
    return None if path == ALL else IdFile(path, column)


def read_options(values: flags.FlagValues, beam_args: Sequence[str]) -> "JobOptions":
    """How a job runs.

    Raises:
        InputError: The folder of releases is none.
    """
    from pipelines.inference import jobs

    return jobs.JobOptions(
        folders.require("release", values.release),
        values.output,
        beam_args,
        rows_per_file=values.rows_per_file,
        overwrite=values.overwrite,
    )
