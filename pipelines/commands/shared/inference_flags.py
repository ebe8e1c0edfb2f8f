"""Flags that `recall recommend`, `similar` and `embed` share. Imports no TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from pipelines.commands.shared import folders, log_flags, progress_flags, request_flags, table_flags
from pipelines.commands.shared.flags import FlagSpec
from recall.errors import InputError

if TYPE_CHECKING:
    from pipelines.inference.id_files import IdFile
    from pipelines.inference.jobs import JobOptions, Users

ALL = "all"

RELEASE = folders.flag(
    "The serving/ folder that `recall run` or `recall push` wrote; the newest release is asked.",
    store="release",
)

EVENTS = FlagSpec(
    help="The log that says what users clicked, in the formats of `recall run`; clicks that are "
    "newer than the model count too.",
    value="LOG",
    kind="log",
    store="url",
)

USERS = FlagSpec(
    help="Which users of the log: all, or a file (.csv, .parquet ...) with the user column. Users "
    "of the file that the log lacks are users without a known item.",
    value="all|FILE",
    default=ALL,
    kind="path",
    store="url",
    suggestions=(ALL,),
)

UNKNOWN_USERS = ("popular", "skip")

OUTPUT = FlagSpec(
    help="Folder of Parquet files to write, or one file where the name ends in .parquet. It "
    "appears whole or stays as it was.",
    value="DIR",
    kind="path",
    store="result",
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

_SUBJECTS = ("history", "similar_to", "k", "include_seen", "with_metadata", "with_interests")
"""Fields of a request that are not the same for everybody, or no matter of a file."""

FILTERS = request_flags.request_flags(_SUBJECTS)


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

    given = request_flags.given(values, names)
    request = query.build_request({subject: ["an item"], **given})
    return {name: getattr(request, name) for name in given}


def read_users(values: flags.FlagValues) -> "Users":
    """The users of --events and --users.

    Raises:
        InputError: There is no such log or file.
    """
    from pipelines.inference import jobs

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
        raise InputError("No file is named. Give a path, or all.")
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
