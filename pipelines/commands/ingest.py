"""The command `recall ingest`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags, logging

from pipelines.commands.shared import beam_flags, folders, log_flags, progress_flags, settings
from pipelines.commands.shared.flags import Command

COMMAND = Command(
    summary="Turns a log into training examples, a vocabulary and statistics.",
    description="Reads the log with Apache Beam, orders and splits every user's events and "
    "writes TFRecord files, vocabulary.parquet, schema.pbtxt, statistics.json and a report. "
    "Flags it does not know (for example --runner=FlinkRunner) go to Apache Beam.",
    examples=("ingest --events=events.csv.gz --items=items.csv.gz --output=runs/mine/examples",),
    flags={
        **log_flags.EVENTS,
        "output": folders.flag("Folder for the examples.", store="update"),
        **settings.FLAGS,
        **log_flags.READING,
        **folders.OVERWRITE,
        **progress_flags.FLAGS,
    },
    required=("events", "output"),
    beam_flags=True,
)


def call(values: flags.FlagValues, beam_args: Sequence[str]) -> None:
    """Writes the examples."""
    config = settings.read(values)
    beam_flags.check(beam_args)
    source, items_file = log_flags.open_log(values), log_flags.find_items_file(values)
    with progress_flags.loading():
        from pipelines.ingestion import ingest

    ingest.run_ingest(
        source,
        items_file,
        values.output,
        config,
        max_bad_rows=values.max_bad_rows,
        beam_args=beam_args,
        overwrite=values.overwrite,
    )
    logging.info("Wrote %s", values.output)
