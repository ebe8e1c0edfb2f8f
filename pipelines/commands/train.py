"""The command `recall train`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags, logging

from pipelines.commands.shared import folders, progress_flags, settings
from pipelines.commands.shared.flags import Command

COMMAND = Command(
    summary="Trains the two towers on the examples.",
    description="Trains until validation NDCG@10 stops improving and keeps the best "
    "checkpoint. The same command continues an interrupted training.",
    examples=(
        "train --examples=runs/mine/examples --output=runs/mine/model --set=train.max_epochs=20",
        "train --examples=runs/today/examples --output=runs/today/model "
        "--warm_start=runs/yesterday",
    ),
    flags={
        "examples": folders.EXAMPLES,
        "output": folders.flag("Folder for the model.", store="update"),
        **settings.FLAGS,
        **folders.WARM_START,
        **folders.OVERWRITE,
        **progress_flags.FLAGS,
    },
    required=("examples", "output"),
    resumes=True,
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Writes the model."""
    from pipelines.artifacts import records

    config = settings.read(values)
    records.require(folders.require("examples", values.examples), "ingest")
    with progress_flags.loading():
        from pipelines.training import trainer
        from pipelines.training.placement import cluster

    trainer.train_and_evaluate(
        config,
        values.examples,
        values.output,
        warm_start=values.warm_start,
        overwrite=values.overwrite,
    )
    job = cluster.read()
    if job is None or not job.is_of_one_host:  # The process that started this one says it.
        logging.info("Wrote %s", values.output)
