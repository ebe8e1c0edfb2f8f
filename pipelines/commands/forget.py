"""The command `recall forget`. Imports no TensorFlow."""

from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import folders, process_memory, progress_flags
from pipelines.commands.shared.flags import Command, FlagSpec

COMMAND = Command(
    summary="Removes users from the examples of a log.",
    description="Writes the files of training windows, held-out tasks and kept sequences anew "
    "without the users, so that nothing of them is left. The examples must have been made with "
    "ingest.keep_sequences=true. Models, releases and the log itself are not changed.",
    examples=("forget --examples=runs/mine/examples --users=gone.csv",),
    flags={
        "examples": folders.flag("Folder of examples, from recall ingest.", store="update"),
        "users": FlagSpec(
            help="File (.csv, .parquet ...) with a column of the users to remove.",
            value="FILE",
            kind="path",
            store="read",
        ),
        "user_column": FlagSpec(
            help="Name of the column of users.", value="NAME", default="user_id"
        ),
        **progress_flags.FLAGS,
    },
    required=("examples", "users"),
)


def call(values: flags.FlagValues, beam_args: Sequence[str]) -> None:
    """Removes the users; says how many there were."""
    del beam_args  # There are none.
    process_memory.keep_freed()
    with progress_flags.loading():
        from pipelines.inference.id_files import IdFile
        from pipelines.upkeep import forget

    users = IdFile(values.users, values.user_column).read()
    number, _ = forget.forget_users(values.examples, users)
    print(f"{values.examples}: removed {number:,} of {len(users):,} users.")
