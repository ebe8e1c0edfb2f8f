"""The command `recall export`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags, logging

from pipelines.commands.shared import folders, progress_flags
from pipelines.commands.shared.flags import Command

COMMAND = Command(
    summary="Writes the towers as SavedModels for TensorFlow Serving.",
    description="Writes user_tower and item_tower: raw string ids in, vectors out, with "
    "signatures and warm-up requests.",
    examples=("export --model=runs/mine/model --output=runs/mine/export",),
    flags={
        "model": folders.MODEL,
        "output": folders.flag("Folder for the SavedModels.", store="update"),
        **folders.REPLACE,
        **progress_flags.FLAGS,
    },
    required=("model", "output"),
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Writes the towers."""
    from pipelines.artifacts import records

    output_dir = folders.read_output(values, "export")
    records.require(folders.require("model", values.model), "train")
    with progress_flags.loading():
        from pipelines.publishing import export

    export.run_export(values.model, output_dir)
    logging.info("Wrote %s", output_dir)
