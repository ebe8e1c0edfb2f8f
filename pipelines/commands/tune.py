"""The command `recall tune`. Imports no TensorFlow until it is called."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging

from pipelines.commands.shared import beam_flags, log_flags, progress_flags, settings
from pipelines.commands.shared import folders as folder_flags
from pipelines.commands.shared.flags import Command, FlagSpec
from pipelines.tuning import space
from recall.settings.train import TrainConfig

COMMAND = Command(
    summary="Searches settings on the validation users, within a budget.",
    description="Ingests the log once, then trains again and again with other settings, chosen by "
    "Optuna from what it has seen; trials without hope are ended early. The first trial has the "
    "settings of --config and --set. The same command goes on with a search that was stopped. "
    "Writes best.json for `recall run --config`, trials.json and tuning.svg.",
    examples=(
        "tune --events=events.csv.gz --output=runs/tuning --trials=20 --minutes=60",
        "tune --events=events.csv --output=runs/tuning --space='model.dim=64|128' "
        "--space=model.dropout_rate=0.1..0.5",
    ),
    flags={
        **log_flags.EVENTS,
        "output": folder_flags.flag("Folder of the search.", store="update"),
        "trials": FlagSpec(
            help="Trainings in all; those of a search that goes on are counted.",
            value="N",
            default=20,
            kind="integer",
            minimum=1,
        ),
        "minutes": FlagSpec(
            help="Time for this call; without it there is no limit. The last trial counts with "
            "what it has.",
            value="N",
            kind="float",
            minimum=0.01,
        ),
        "metric": FlagSpec(
            help="Metric of the validation users to raise, which also decides which epoch is kept. "
            "Without it: train.stopping_metric of the settings.",
            value="NAME",
            choices=TrainConfig.STOPPING_METRICS,
        ),
        "space": FlagSpec(
            help="A setting to search: KEY=A|B|C, KEY=LOW..HIGH or KEY=log:LOW..HIGH. Repeatable. "
            "Without it: learning rate, temperature, dropout, interests, seq2seq, batch.",
            value="KEY=VALUES",
            default=(),
            kind="repeated",
        ),
        "seed": FlagSpec(help="Of the search.", value="N", default=1, kind="integer", minimum=0),
        **settings.FLAGS,
        **log_flags.READING,
        **progress_flags.FLAGS,
    },
    required=("events", "output"),
    beam_flags=True,
    resumes=True,
)


def call(values: flags.FlagValues, beam_args: Sequence[str]) -> None:
    """Searches; shows the best trials and says what to type next."""
    config = settings.read(values)
    if values.metric:
        config = config.override([f"train.stopping_metric={values.metric}"])
    dimensions = (
        space.parse_space(values.space, config) if values.space else space.default_space(config)
    )
    beam_flags.check(beam_args)
    source, items_file = log_flags.open_log(values), log_flags.find_items_file(values)
    output_dir = Path(values.output)
    with progress_flags.loading():
        from pipelines.ingestion import ingest
        from pipelines.tuning import results, tune

    tune.check_output(output_dir)
    ingest.run_ingest(
        source,
        items_file,
        output_dir / tune.EXAMPLES,
        config,
        max_bad_rows=values.max_bad_rows,
        beam_args=beam_args,
    )
    minutes = math.inf if values.minutes is None else values.minutes
    budget = tune.Budget(values.trials, 60 * minutes)
    rows = tune.tune(output_dir, config, dimensions, budget, seed=values.seed)
    print(results.table(rows, config.train.stopping_metric))
    logging.info("Wrote %s and %s", output_dir / tune.BEST_NAME, output_dir / results.PLOT_NAME)
    print(f"\nNext:\n  {next_command(values, output_dir / tune.BEST_NAME)}")


def next_command(values: flags.FlagValues, best_file: Path) -> str:
    """`recall run` with the best settings, of the log as it was read here; a flag a line."""
    log = [
        word
        for name in (*log_flags.EVENTS, *log_flags.READING)
        if values[name].present
        for word in values[name].serialize().splitlines()
    ]
    words = [*log, f"--config={best_file}", "--output=runs/best"]
    return " \\\n    ".join(["recall run", *map(shlex.quote, words)])
