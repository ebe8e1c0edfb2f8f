"""The command `recall ingest`. Imports no TensorFlow until it is called."""

from collections.abc import Sequence

from absl import flags, logging

from pipelines.commands.shared import (
    beam_flags,
    folders,
    log_flags,
    process_memory,
    progress_flags,
    settings,
)
from pipelines.commands.shared.flags import Command, FlagSpec, UsageError
from recall.config import RecallConfig

COMMAND = Command(
    summary="Turns a log into training examples, a vocabulary and statistics.",
    description="Reads the log, orders and splits every user's events and writes TFRecord files, "
    "vocabulary.parquet, schema.pbtxt, statistics.json and a report. One process does all, unless "
    "flags that it does not know (for example --runner=FlinkRunner) ask for Apache Beam.",
    examples=(
        "ingest --events=events.csv.gz --items=items.csv.gz --output=runs/mine/examples",
        "ingest --append --events=monday.parquet --output=runs/mine/examples "
        "--set=ingest.keep_sequences=true",
    ),
    flags={
        **log_flags.EVENTS,
        **log_flags.USERS,
        "output": folders.flag("Folder for the examples.", store="update"),
        **settings.FLAGS,
        **log_flags.READING,
        "append": FlagSpec(
            help="Adds the events of --events to the examples in --output, which were made with "
            "ingest.keep_sequences=true; of their events only those of users who change are read. "
            "--items gives all items their categories, titles and features anew, --users all users "
            "their values; without them new ones have none. With events that are there already "
            "these files alone are taken in.",
            value="",
            default=False,
            kind="boolean",
        ),
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
    process_memory.keep_freed()
    if values.append:
        _append(values, config, beam_args)
        return
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


def _append(values: flags.FlagValues, config: RecallConfig, beam_args: Sequence[str]) -> None:
    """Adds the events to examples that are there."""
    if values.overwrite:
        raise UsageError("--overwrite has no meaning with --append: examples are there already.")
    source, items_file = log_flags.open_log(values), log_flags.find_items_file(values)
    with progress_flags.loading():
        from pipelines.upkeep import append

    append.append_events(
        source,
        values.output,
        config,
        items_file=items_file,
        max_bad_rows=values.max_bad_rows,
        beam_args=beam_args,
    )
