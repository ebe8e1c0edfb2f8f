"""The command `recall index`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags, logging

from pipelines.commands.shared import folders, progress_flags, settings
from pipelines.commands.shared.flags import Command, FlagSpec
from serving.index.shards import Shard

COMMAND = Command(
    summary="Builds the nearest-neighbour index of all items.",
    description="Embeds the catalogue with the exported item tower, builds a ScaNN index (or "
    "an exact one for a small catalogue), measures it against exact search and seals it with "
    "checksums.",
    examples=(
        "index --export=runs/mine/export --examples=runs/mine/examples --output=runs/mine/index",
    ),
    flags={
        "export": folders.EXPORT,
        "examples": folders.EXAMPLES,
        "output": folders.flag("Folder for the index.", store="update"),
        "evaluation": folders.flag(
            "Folder written by `recall evaluate`; the recall of the index is added to its report.",
            store="update",
        ),
        "shard": FlagSpec(
            help="Holds one part of the catalogue, for catalogues beyond one machine: 0/4 is "
            "the first of four. Publish it with `recall push --index`.",
            value="I/N",
        ),
        **settings.FLAGS,
        **folders.REPLACE,
        **progress_flags.FLAGS,
    },
    required=("export", "examples", "output"),
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Writes the index; adds its recall to the report where one is named."""
    from pipelines.artifacts import records
    from pipelines.publishing import summary

    config, output_dir = settings.read(values), folders.read_output(values, "index")
    records.require(folders.require("export", values.export), "export")
    records.require(folders.require("examples", values.examples), "ingest")
    if values.evaluation:
        records.require(folders.require("evaluation", values.evaluation), "evaluate")
    shard = None if values.shard is None else Shard.parse(values.shard)
    with progress_flags.loading():
        from pipelines.publishing import index

    report = index.run_index(values.export, values.examples, output_dir, config, shard)
    if values.evaluation:
        from pipelines.evaluation import evaluate

        evaluate.add_index_report(values.evaluation, report)
    logging.info("Wrote %s: %s", output_dir, summary.index_line(report))
