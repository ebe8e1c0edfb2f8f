"""Flags that name artifact folders, and the checks of them. Imports no TensorFlow."""

from pathlib import Path

from absl import flags

from pipelines.commands.shared.flags import FlagSpec
from recall.errors import InputError

OVERWRITE = {
    "overwrite": FlagSpec(
        help="Replaces an artifact of other inputs or of another job in --output.",
        value="",
        default=False,
        kind="boolean",
    )
}
WARM_START = {
    "warm_start": FlagSpec(
        help="Folder of an earlier run, or of a model: the training goes on from it. Items keep "
        "what was learnt of them by their ids.",
        value="DIR",
        kind="path",
        store="read",
    )
}
PREVIOUS = {
    "previous": FlagSpec(
        help="Folder of an earlier run, or of its examples: the log is compared with its log, and "
        "held against the limits of --set=validation.max_... .",
        value="DIR",
        kind="path",
        store="read",
    )
}
REPLACE = {
    "overwrite": FlagSpec(
        help="Replaces another job's artifact in --output; one of this job is always replaced.",
        value="",
        default=False,
        kind="boolean",
    )
}


def flag(text: str, store: str = "") -> FlagSpec:
    """A flag that names a folder; `store` says what one in an object store is for."""
    return FlagSpec(help=text, value="DIR", kind="path", store=store)


EXAMPLES = flag("Folder written by `recall ingest`.", store="read")
MODEL = flag("Folder written by `recall train`.", store="read")
EXPORT = flag("Folder written by `recall export`.", store="read")


def require(name: str, path: str) -> str:
    """The path that the flag `name` has, if it is a folder.

    Raises:
        InputError: It is none.
    """
    if not Path(path).is_dir():
        raise InputError(f"--{name}={path} is no folder. Name one that exists.")
    return path


def read_output(values: flags.FlagValues, job: str) -> str:
    """The output folder, unless it holds something else than this job's artifact.

    Raises:
        InputError: It does.
    """
    from pipelines.artifacts import records

    records.check_output(values.output, job, overwrite=values.overwrite)
    return values.output
