"""The command `recall runs`. Imports no TensorFlow."""

import sys
from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import folders
from pipelines.commands.shared.flags import Command, FlagSpec

OUTPUT_FORMAT = FlagSpec(
    help="Of the output; json and csv have everything that is known of a run.",
    value="NAME",
    default="table",
    choices=("table", "json", "csv"),
)
COMMAND = Command(
    summary="Lists the runs below a folder and compares them.",
    description="One line per run: when it finished, its log, metrics, verdict, time and memory. "
    "--compare sets runs side by side: metrics, what each job took, and of settings, inputs and "
    "versions what differs; with the same test users also by how much metrics differ from those "
    "of the first run, with intervals.",
    examples=(
        "runs runs",
        "runs runs --compare=mine,before",
        "runs runs --format=json",
    ),
    flags={
        "dir": folders.flag(
            "Folder with runs, at most four folders deep; or one run.", store="records"
        ),
        "compare": FlagSpec(
            help="Names of runs as the list has them, with commas; `all` for every one.",
            value="NAMES",
            kind="list",
            default=(),
        ),
        "format": OUTPUT_FORMAT,
    },
    required=("dir",),
    word="dir",
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Prints the list, or the comparison."""
    directory = folders.require("dir", values.dir)
    from pipelines.tracking import run_tables

    runs = run_tables.read_runs(directory)
    if values.compare:
        runs = run_tables.choose(runs, values.compare)
        sys.stdout.write(run_tables.compare(runs, values.format))
    else:
        sys.stdout.write(run_tables.list_runs(runs, values.format))
