"""The command `recall tfx`. Imports no TensorFlow until it is called."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from pipelines.commands.shared import (
    beam_flags,
    folders,
    log_flags,
    progress_flags,
    publish_flags,
    settings,
)
from pipelines.commands.shared.flags import Command, FlagSpec
from recall.errors import InputError

COMMAND = Command(
    summary="Runs the jobs as a TFX pipeline, recorded in ML Metadata.",
    description="ExampleGen on the log, StatisticsGen, SchemaGen, ExampleValidator, then ingest, "
    "train, evaluate, index and push as components of TensorFlow Extended. Components whose "
    "inputs and settings have not changed are not run again. It needs an environment with TFX, "
    "which `make tfx-install` builds. Flags it does not know go to Apache Beam.",
    examples=(
        "tfx --events=events.csv.gz --items=items.csv.gz --output=runs/tfx",
        "tfx --events=events.csv.gz --output=runs/tfx --schema=schema.pbtxt",
    ),
    flags={
        **log_flags.EVENTS,
        "output": folders.flag("Folder of artifacts, metadata and, in serving/, releases."),
        "schema": FlagSpec(
            help="Schema of the events (schema.pbtxt of TensorFlow Metadata) that the log must "
            "keep to. Without it one is inferred, which the log it was inferred from keeps to.",
            value="FILE",
            kind="path",
        ),
        **settings.FLAGS,
        **folders.WARM_START,
        **log_flags.READING,
        **publish_flags.FLAGS,
        **progress_flags.FLAGS,
    },
    required=("events", "output"),
    beam_flags=True,
    resumes=True,
)


def call(values: flags.FlagValues, beam_args: Sequence[str]) -> None:
    """Runs the pipeline; says what to type next.

    Raises:
        InputError: There is no TFX, the input is bad, or the model is not blessed.
    """
    if importlib.util.find_spec("tfx") is None:
        raise InputError(
            "TFX is not installed here. It needs an environment of its own: `make tfx-install` "
            "builds it, and build/tfx/bin/recall is the command with it (docs/tfx.md)."
        )
    from pipelines.artifacts import records
    from pipelines.evaluation import blessing
    from pipelines.publishing import summary
    from pipelines.tfx.log_spec import LogSpec
    from serving.release import storage

    config, keep = settings.read(values), publish_flags.read_keep(values)
    beam_flags.check(beam_args)
    if values.schema is not None and not Path(values.schema).is_file():
        raise InputError(f"--schema={values.schema} is no file. Check the path.")
    log = LogSpec(values.events, **log_flags.read_log(values))
    log.check(config)
    items_file = log_flags.find_items_file(values)
    from pipelines.tfx import pipeline

    result = pipeline.run(
        pipeline.Inputs(log, items_file, values.schema, values.max_bad_rows, values.warm_start),
        values.output,
        config,
        publication=pipeline.Publication(
            str(Path(values.output) / "serving"), keep, values.allow_loss
        ),
        beam_args=beam_args,
    )
    report = storage.read_json(result.evaluation_dir / records.REPORT_NAME)
    print(summary.results(report))
    print(f"Report: {result.report}")
    if result.version is None:
        refusal = blessing.describe_refusal(report["blessing"], "`recall tfx`")
        raise InputError(f"The model is not blessed: {refusal}.")
    print(f"\nVersion {result.version} is published. Next:")
    print(f"  {summary.next_command(values.output)}")
