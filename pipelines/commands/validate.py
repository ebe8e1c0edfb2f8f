"""The command `recall validate`. Imports no TensorFlow."""

from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import folders, settings
from pipelines.commands.shared.flags import Command

COMMAND = Command(
    summary="Measures a log and what changed since an earlier run, within limits.",
    description="Reads what ingest left: duplicates, missing days, unknown items and, beside an "
    "earlier run, new and gone items, the shift of popularity and of lengths. A limit that is "
    "broken stops with one line; `recall run` does this before it trains.",
    examples=(
        "validate --examples=new/examples --previous=old --output=new/validation",
        "validate --examples=new/examples --output=checked --set=validation.max_duplicates=0.01",
    ),
    flags={
        "examples": folders.EXAMPLES,
        **folders.PREVIOUS,
        "output": folders.flag("Folder for validation.json.", store="update"),
        **settings.FLAGS,
        **folders.REPLACE,
    },
    required=("examples", "output"),
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Prints every measure, its limit and whether that holds."""
    config = settings.read(values)
    from pipelines.validation import tables, validate

    output_dir = folders.read_output(values, validate.JOB)
    result = validate.run_validation(values.examples, output_dir, config, values.previous)
    print(tables.as_text(result))
