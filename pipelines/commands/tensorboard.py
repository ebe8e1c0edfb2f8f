"""The command `recall tensorboard`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import folders, progress_flags
from pipelines.commands.shared.flags import Command, FlagSpec, port_flag

COMMAND = Command(
    summary="Shows the curves of a training and the map of its items in TensorBoard.",
    description="Losses, validation metrics, the share of clicks and of gradients of every "
    "interest (page `Custom scalars`), the settings (page `Text`) and the item vectors with titles "
    "and categories (page `Projector`), at an address of this machine only. The curves of a "
    "training that is running grow.",
    examples=("tensorboard --run=runs/mine", "tensorboard --run=runs/mine --port=0"),
    flags={
        "run": folders.flag("Folder of a run, or one that `recall train` wrote.", store="read"),
        "port": port_flag("Port of 127.0.0.1", 6006),
        "max_items": FlagSpec(
            help="Items of the projector, the most clicked ones; 0 leaves it out.",
            value="N",
            default=10_000,
            kind="integer",
            minimum=0,
            maximum=100_000,
        ),
        **progress_flags.FLAGS,
    },
    required=("run",),
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Serves TensorBoard until Ctrl-C."""
    run_dir = folders.require("run", values["run"].value)
    from pipelines.inspection import board

    board.serve_board(run_dir, values.port, values.max_items)
