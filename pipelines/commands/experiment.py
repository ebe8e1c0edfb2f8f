"""The command `recall experiment`. Imports no TensorFlow until it is called."""

import math
import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags, logging

from pipelines.commands.shared import folders as folder_flags
from pipelines.commands.shared import log_flags, progress_flags, table_flags
from pipelines.commands.shared.flags import Command, FlagSpec, UsageError

if TYPE_CHECKING:
    from pipelines.experiments.preparing import Reading

READING = {
    **{name: log_flags.READING[name] for name in (*log_flags.HISTORY_READING, "weight_column")},
    **table_flags.LOG,
    **table_flags.ITEMS,
}
"""How logs that are files are read."""

COMMAND = Command(
    summary="Trains recipes side by side and says by how much they differ.",
    description="An experiment is a grid of logs, recipes and seeds. Every run is a process; a "
    "finished one is kept below runs/ and never made again, so the same command goes on with an "
    "experiment that was stopped, and with more --seeds or --logs adds to it. Writes "
    "results.json, results.md and results.svg. Logs of a name lie below RECALL_DATA_DIR; the flags "
    "about columns and rows are for your own.",
    examples=(
        "experiment --list",
        "experiment seq2seq --list --seeds=3",
        "experiment seq2seq --output=runs/seq2seq --logs=ml-100k --seeds=5",
        "experiment seq2seq --output=runs/quick --logs=planted --seeds=2 --epochs=3 --jobs=2",
    ),
    flags={
        "name": FlagSpec(help="Which experiment; --list names them.", value="NAME"),
        "list": FlagSpec(
            help="Names the experiments; with a name, shows the logs, recipes and runs of that one "
            "as the other flags make it. Runs nothing.",
            value="",
            default=False,
            kind="boolean",
        ),
        "output": folder_flags.flag("Folder of examples, runs and results."),
        "logs": FlagSpec(
            help="Logs with commas: beauty, sports, ml-1m, ml-100k, diginetica, planted, exposed, "
            "synthetic:key=value,..., or your own: a file of events, or a folder with events.csv "
            "and items.csv. Without it: those of the experiment.",
            value="NAMES",
            kind="list",
            default=(),
        ),
        "arm": FlagSpec(
            help="A recipe of the experiment that is run; the first one always is. Without it: "
            "all. Repeatable.",
            value="NAME",
            default=(),
            kind="repeated",
        ),
        "seeds": FlagSpec(
            help="Runs of every log and recipe, with the seeds 1 to N. Without it: those of the "
            "experiment.",
            value="N",
            kind="integer",
            minimum=1,
        ),
        "epochs": FlagSpec(
            help="train.max_epochs of every run. Without it: what suits the log.",
            value="N",
            kind="integer",
            minimum=1,
        ),
        "set": FlagSpec(
            help="One setting of every run, for example model.dim=64; those that a recipe is "
            "about win. Repeatable.",
            value="KEY=VALUE",
            default=(),
            kind="repeated",
        ),
        "jobs": FlagSpec(
            help="Runs at a time; each has as many cores as that leaves, and where there are "
            "several GPUs one of them in turn.",
            value="N",
            default=1,
            kind="integer",
            minimum=1,
        ),
        "max_minutes": FlagSpec(
            help="Time after which no other run begins; the same command goes on later.",
            value="N",
            kind="float",
            minimum=0,
        ),
        "only_examples": FlagSpec(
            help="Makes no run: ingests the logs, for a machine that trains and has none.",
            value="",
            default=False,
            kind="boolean",
        ),
        "only_results": FlagSpec(
            help="Makes no run: writes the results of those that are finished.",
            value="",
            default=False,
            kind="boolean",
        ),
        "run": FlagSpec(
            help="Makes this one run alone, in this process; its examples are there. What the "
            "command itself starts.",
            value="KEY",
        ),
        **READING,
        **progress_flags.FLAGS,
    },
    word="name",
    resumes=True,
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Makes the runs that are left, and shows what came out."""
    from pipelines.experiments.grids import catalogue
    from pipelines.experiments.grids.grid import Options, choose_arms

    if values.list and not values["name"].value:
        width = max(map(len, catalogue.SUMMARIES))
        for name, text in catalogue.SUMMARIES.items():
            print(f"{name:<{width}}  {text}")
        return
    for flag in ("name", "output"):
        if not values[flag].value and not values.list:
            example = COMMAND.examples[2]
            raise UsageError(f"--{flag} is required, for example `recall {example}`.")
    if values.only_examples and values.only_results:
        raise UsageError("Give --only_examples or --only_results, one of the two.")
    logs = catalogue.read_logs(values.logs) if values["logs"].present else ()
    options = Options(logs, values.seeds, values.epochs, tuple(values["set"].value))
    experiment = catalogue.build(values["name"].value, options)
    if values.arm:
        experiment = choose_arms(experiment, values.arm)
    if values.list:
        from pipelines.experiments import plan

        print(plan.describe(experiment), end="")
        return
    threads = max(1, len(os.sched_getaffinity(0)) // values.jobs) if values.jobs > 1 else 0
    if values.run:
        with progress_flags.loading():
            from pipelines.experiments import one_run

        one_run.make(experiment, experiment.find_run(values.run), values.output, threads=threads)
        return
    from pipelines.experiments import runner
    from pipelines.experiments.outcomes import results, tables

    reading = _reading(values)
    if values.only_examples:
        runner.prepare_all(experiment, values.output, reading)
        logging.info("Wrote the examples to %s", f"{values.output}/examples")
        return
    if values.only_results:
        found = runner.write_results(experiment, values.output)
    else:
        minutes = math.inf if values.max_minutes is None else values.max_minutes
        make_runs = runner.in_processes(_words(values), values.output, values.jobs, minutes)
        found = runner.run_experiment(experiment, values.output, make_runs, reading)
    print(tables.terminal(found, shutil.get_terminal_size((100, 24)).columns))
    logging.info("Wrote %s and its .json and .svg", f"{values.output}/{results.TABLE_NAME}")


def _reading(values: flags.FlagValues) -> "Reading":
    """How logs that are files are read, by the flags.

    Raises:
        InputError: A value makes no sense.
    """
    from pipelines.experiments.preparing import Reading

    return Reading(
        log_flags.read_log(values),
        lambda path: table_flags.read_items_file(values, path),
        values.max_bad_rows,
    )


def _words(values: flags.FlagValues) -> list[str]:
    """This command line, for the process of a run."""
    given = ("output", "logs", "arm", "seeds", "epochs", "set", "jobs")
    words = ["experiment", values["name"].value, "--progress=off"]
    for name in given:
        if values[name].present:
            words += values[name].serialize().splitlines()
    return words
