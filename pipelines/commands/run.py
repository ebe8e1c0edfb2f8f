"""The command `recall run`. Imports no TensorFlow until it is called."""

import functools
from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import (
    beam_flags,
    folders,
    log_flags,
    mlflow_flags,
    progress_flags,
    publish_flags,
    settings,
)
from pipelines.commands.shared.flags import Command, FlagSpec

COMMAND = Command(
    summary="Runs all jobs: from a log to a published release.",
    description="Chains ingest, validate, train, evaluate, export, index and push in one folder. "
    "Jobs whose inputs and settings have not changed are skipped, so the same command resumes "
    "after a failure. Flags it does not know (for example --runner=FlinkRunner) go to Apache "
    "Beam.",
    examples=(
        "run --events=events.csv.gz --items=items.csv.gz --output=runs/mine",
        "run --events=events.csv.gz --output=runs/mine --config=my.json "
        "--set=train.batch_slots=512",
        "run --events=synthetic:users=2000,items=500 --output=runs/try",
    ),
    flags={
        **log_flags.EVENTS,
        **log_flags.USERS,
        "output": folders.flag(
            "Folder of the run; created when it does not exist.", store="update"
        ),
        "serving": folders.flag(
            "Folder of the releases, here or in an object store; default: serving/ inside the run.",
            store="url",
        ),
        **settings.FLAGS,
        **folders.WARM_START,
        **folders.PREVIOUS,
        **log_flags.READING,
        "overwrite": FlagSpec(
            help="Replaces the artifacts in --output when they were made from another log. "
            "Published releases stay.",
            value="",
            default=False,
            kind="boolean",
        ),
        **publish_flags.FLAGS,
        **mlflow_flags.FLAGS,
        **progress_flags.FLAGS,
    },
    required=("events", "output"),
    beam_flags=True,
    resumes=True,
)


def call(values: flags.FlagValues, beam_args: Sequence[str]) -> None:
    """Runs all jobs; says what to type next."""
    from pipelines.publishing import summary

    config, keep = settings.read(values), publish_flags.read_keep(values)
    beam_flags.check(beam_args)
    source, items_file = log_flags.open_log(values), log_flags.find_items_file(values)
    with progress_flags.loading():
        from pipelines.publishing import run
        from pipelines.tracking import mlflow_log

    job = functools.partial(
        run.run,
        source,
        items_file,
        values.output,
        config,
        max_bad_rows=values.max_bad_rows,
        overwrite=values.overwrite,
        beam_args=beam_args,
        keep=keep,
        allow_loss=values.allow_loss,
        warm_start=values.warm_start,
        serving_dir=values.serving,
        previous=values.previous,
    )
    result = mlflow_log.logging_run(mlflow_flags.read_uri(values), values.output, job)
    print(f"\nVersion {result.version} is published. Next:")
    print(f"  {summary.next_command(values.output, values.serving)}")
