"""The command `recall report`. Imports no TensorFlow."""

from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import folders
from pipelines.commands.shared.flags import Command, FlagSpec

COMMAND = Command(
    summary="Writes the report of a run: one HTML file.",
    description="The data, learning curves, metrics beside the baselines, what each interest "
    "stands for, example users, warnings in words. `recall run` ends with it; this command makes "
    "it again, or sets another run beside it. The file opens without a network.",
    examples=(
        "report --run=runs/mine",
        "report --run=runs/mine --compare=runs/before --output=compared.html",
    ),
    flags={
        "run": folders.flag("Folder of the run.", store="update"),
        "compare": folders.flag("Folder of another run, to be set beside it.", store="read"),
        "output": FlagSpec(
            help="File to write; without it report.html in the folder of the run.",
            value="FILE",
            kind="path",
            store="write",
        ),
    },
    required=("run",),
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Writes the report and says where it is."""
    run_dir = folders.require("run", values["run"].value)
    other_dir = values.compare and folders.require("compare", values.compare)
    from pipelines.reporting import report

    print(report.write_report(run_dir, other_dir, values.output))
