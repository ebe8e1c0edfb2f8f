"""Examples of the cases of an experiment: `recall ingest`, with noise where a case has some."""

import logging
from pathlib import Path

from pipelines.experiments import noisy_log
from pipelines.experiments.grids.grid import Experiment, GridRun
from pipelines.experiments.grids.logs import find_log, open_source
from pipelines.experiments.outcomes import run_files
from pipelines.ingestion import ingest
from recall.config import RecallConfig
from recall.errors import InputError

_SEED = 1
"""Of the noise: all recipes and seeds of a case have the same."""

_log = logging.getLogger(__name__)


def prepare(experiment: Experiment, run: GridRun, output_dir: str | Path) -> Path:
    """Makes the examples of a run's case, unless they are there.

    Raises:
        InputError: The log cannot be read, or has no users who are long enough.
    """
    examples = run_files.examples_dir(output_dir, run)
    log, config = find_log(run.case.log), experiment.config(run)
    source, items = open_source(log), log.items
    if run.case.noise is not None:
        events = examples.with_name(f"{examples.name}.parquet")
        number = noisy_log.write(source, events, run.case.noise, config.ingest, seed=_SEED)
        _log.info("%s: random items in %d training events", run.case.name, number)
        source = open_source(log._replace(events=str(events)))
        config = config.override(["ingest.protocol=provided"])
    ingest.run_ingest(source, items, examples, config)
    return examples


def check(experiment: Experiment) -> None:
    """Refuses settings and logs that cannot be used, before anything is made.

    Raises:
        InputError: One cannot.
    """
    first = {}
    for run in experiment.runs():
        find_log(run.case.log)
        _check_same_examples(run, experiment.config(run), first)


def _check_same_examples(run: GridRun, config: RecallConfig, first: dict) -> None:
    """All arms of a case read the same examples."""
    made_with = config.ingest, config.model.max_history_length
    if first.setdefault(run.case.name, made_with) != made_with:
        raise InputError(
            f"Arm {run.arm.name} changes what examples are made with. Give ingest settings and "
            "model.max_history_length by --set, for all arms."
        )
