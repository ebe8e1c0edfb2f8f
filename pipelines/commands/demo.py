"""The command `recall demo`. Imports no TensorFlow until it is called."""

import sys
from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import folders
from pipelines.commands.shared.flags import Command, FlagSpec

COMMAND = Command(
    summary="Shows what a finished run learned.",
    description="Prints the histories of a few users, the items recalled for them by "
    "interest, and the metrics. `make demo` ends with it.",
    examples=("demo --run=runs/demo",),
    flags={
        "run": folders.flag("Folder of a finished run.", store="published"),
        "users": FlagSpec(help="Users to show.", value="N", default=3, kind="integer", minimum=1),
        "k": FlagSpec(
            help="Items recalled for each.", value="N", default=12, kind="integer", minimum=1
        ),
    },
    required=("run",),
    hidden=True,
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Shows the run."""
    run_dir = folders.require("run", values["run"].value)
    from pipelines.publishing import demo

    sys.stdout.write(demo.show_run(run_dir, num_users=values.users, k=values.k))
