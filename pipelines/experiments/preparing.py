"""Examples of the cases of an experiment: `recall ingest`, with noise where a case has some."""

import logging
from pathlib import Path

from pipelines.artifacts import records
from pipelines.experiments.grids.grid import Experiment, GridRun
from pipelines.experiments.grids.logs import find_log
from pipelines.experiments.outcomes import run_files
from recall.config import RecallConfig
from recall.errors import InputError

_SEED = 1
"""Of the noise: all recipes and seeds of a case have the same."""

_log = logging.getLogger(__name__)


def prepare(experiment: Experiment, run: GridRun, output_dir: str | Path) -> Path:
    """Makes the examples of a run's case, unless they are there.

    Those that are there are taken as they are, so that a machine that has no logs and cannot
    ingest any can train on them.

    Raises:
        InputError: The log cannot be read, or has no users who are long enough.
    """
    examples = run_files.examples_dir(output_dir, run)
    config = experiment.config(run)
    if run.case.noise is not None:
        config = config.override(["ingest.protocol=provided"])
    record = records.read_record(examples)
    if record is not None and _made_with(record) == _made_with({"settings": config.to_dict()}):
        return examples
    # Not before: it needs packages that a training does not.
    from pipelines.experiments import noisy_log
    from pipelines.ingestion import ingest
    from pipelines.ingestion.open_log import open_events

    log = find_log(run.case.log)
    source = open_events(log.events)
    if run.case.noise is not None:
        events = examples.with_name(f"{examples.name}.parquet")
        split_by = experiment.config(run).ingest
        number = noisy_log.write(source, events, run.case.noise, split_by, seed=_SEED)
        _log.info("%s: random items in %d training events", run.case.name, number)
        source = open_events(str(events))
    ingest.run_ingest(source, log.items, examples, config)
    return examples


def check(experiment: Experiment) -> None:
    """Refuses settings that cannot be used, before anything is made.

    Raises:
        InputError: A setting is refused, or an arm changes what examples are made with.
    """
    first: dict[str, tuple] = {}
    for run in experiment.runs():
        made_with = _made_with({"settings": experiment.config(run).to_dict()})
        if first.setdefault(run.case.name, made_with) != made_with:
            raise InputError(
                f"Arm {run.arm.name} changes what examples are made with. Give ingest settings "
                "and model.max_history_length by --set, for all arms."
            )


def _made_with(record: dict) -> tuple:
    """What examples depend on beside the log, of a record or of settings."""
    settings = record["settings"]
    ingest = RecallConfig.from_dict({"ingest": settings["ingest"]}).ingest
    return ingest, settings["model"]["max_history_length"]
