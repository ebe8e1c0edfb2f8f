"""The command `recall compare`. Imports no TensorFlow."""

import sys
from collections.abc import Sequence

from absl import flags

from pipelines.commands.runs import OUTPUT_FORMAT
from pipelines.commands.shared.flags import Command, FlagSpec
from serving.release import paths

COMMAND = Command(
    summary="Sets runs side by side, with intervals of what differs.",
    description="Metrics, what each job took, and of settings, inputs and versions what differs. "
    "With the same test users also by how much the metrics of each run differ from those of the "
    "first one, user by user, with 95 % intervals. What `recall evaluate --lists` wrote is a run, "
    "too. Over several seeds `recall experiment` compares recipes.",
    examples=(
        "compare runs/before runs/mine",
        "compare runs/before runs/mine runs/theirs --format=json",
    ),
    flags={
        "runs": FlagSpec(
            help="Folders of runs, as bare words; the others are compared with the first one.",
            value="DIR",
            default=(),
            kind="repeated",
        ),
        "format": OUTPUT_FORMAT,
    },
    required=("runs",),
    word="runs",
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Prints the comparison."""
    from pipelines.tracking import run_tables

    folders = [paths.to_local(path, "--runs") for path in values.runs]
    runs = run_tables.read_each(folders)
    sys.stdout.write(run_tables.compare(runs, values.format))
