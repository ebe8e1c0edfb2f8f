"""Examples of the cases of an experiment: `recall ingest`, with noise where a case has some."""

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pipelines.artifacts import records
from pipelines.experiments.grids.grid import Case, Experiment, GridRun
from pipelines.experiments.grids.logs import find_log, is_named
from pipelines.experiments.outcomes import run_files
from recall.config import RecallConfig
from recall.errors import InputError

_SEED = 1
"""Of the noise: all recipes and seeds of a case have the same."""


class Reading(NamedTuple):
    """How logs are read that are files; those that are known by a name need nothing.

    Attributes:
        options: Arguments of `open_events` beside the log.
        items_file: What an items file beside a log is, of its path.
        max_bad_rows: To skip in each file.
    """

    options: Mapping[str, Any] = MappingProxyType({})
    items_file: Callable[[str], Any] = str
    max_bad_rows: int = 0


AS_USUAL = Reading()
"""Columns of the usual names, and no bad rows."""

_log = logging.getLogger(__name__)


def prepare_cases(
    experiment: Experiment,
    runs: Iterable[GridRun],
    output_dir: str | Path,
    reading: Reading = AS_USUAL,
) -> None:
    """Makes the examples of the cases of some runs, where they are not there yet.

    All logs are looked at before the first is ingested.

    Raises:
        InputError: As `prepare`.
    """
    cases = {run.case.name: run for run in runs}.values()
    left = [run for run in cases if not _is_made(experiment, run, output_dir, reading)]
    for run in left:
        _open(run.case.log, reading)
    for run in left:
        prepare(experiment, run, output_dir, reading)


def prepare(
    experiment: Experiment,
    run: GridRun,
    output_dir: str | Path,
    reading: Reading = AS_USUAL,
) -> Path:
    """Makes the examples of a run's case, unless they are there.

    Those that are there are taken as they are where the log is not, so that a machine that has
    no logs and cannot ingest any can train on them.

    Raises:
        InputError: The log cannot be read, or has no users who are long enough, or the examples
            are those of another log.
    """
    examples = run_files.examples_dir(output_dir, run)
    if _is_made(experiment, run, output_dir, reading):
        return examples
    # Not before: it needs packages that a training does not.
    from pipelines.experiments import noisy_log
    from pipelines.ingestion import ingest
    from pipelines.ingestion.open_log import open_events
    from pipelines.sources.columns.read_options import ReadOptions
    from pipelines.synthetic.source import write_items_file

    source, items = _open(run.case.log, reading)
    max_bad_rows = 0 if is_named(run.case.log) else reading.max_bad_rows
    if run.case.noise is not None:
        events = _noisy_path(examples)
        split_by = experiment.config(run).ingest
        number = noisy_log.write(
            source, events, run.case.noise, split_by, seed=_SEED, max_bad_rows=max_bad_rows
        )
        _log.info("%s: random items in %d training events", run.case.name, number)
        if items is None and (own := source.items()) is not None:
            items = str(examples.with_name(f"{examples.name}.items.parquet"))
            write_items_file(own, items)
        # Its times are read already.
        as_ids = ReadOptions(null_markers=source.options.null_markers)
        source = open_events(str(events), options=as_ids)
    config = _ingest_config(experiment, run)
    ingest.run_ingest(source, items, examples, config, max_bad_rows=max_bad_rows)
    return examples


def _open(log: str, reading: Reading) -> tuple[Any, Any]:
    """The events and, where there is one, the items file of a log."""
    from pipelines.ingestion.open_log import open_events

    found = find_log(log)
    if is_named(log):
        return open_events(found.events), found.items
    items = None if found.items is None else reading.items_file(found.items)
    return open_events(found.events, **reading.options), items


def _is_made(
    experiment: Experiment, run: GridRun, output_dir: str | Path, reading: Reading
) -> bool:
    """Whether the examples of a run's case are there.

    Raises:
        InputError: They are those of another log.
    """
    examples = run_files.examples_dir(output_dir, run)
    record = records.read_record(examples)
    config = _ingest_config(experiment, run)
    if record is None or _made_with(record) != _made_with({"settings": config.to_dict()}):
        return False
    found = _made_from(examples, record, run)
    now = _would_be_made_from(experiment, run, reading)
    if found is not None and now is not None and found != now:
        raise InputError(
            f"{examples} was made from another log than {run.case.log} is now, or it was read "
            f"otherwise. Choose another --output, or remove {examples} and the runs of "
            f"{run.case.name} to begin again."
        )
    return True


def _made_from(examples: Path, record: Mapping[str, Any], run: GridRun) -> Any:
    """The log that examples were made from, and how it was read; None where nothing tells."""
    if run.case.noise is None:
        return record["inputs"], record["settings"].get("reading")
    path = _noisy_path(examples)
    if not path.is_file():
        return None
    from pipelines.experiments import noisy_log

    return noisy_log.read_origin(path)


def _would_be_made_from(experiment: Experiment, run: GridRun, reading: Reading) -> Any:
    """The same of the log as it is now; None where it is not, or cannot be read here."""
    try:
        from pipelines.ingestion import ingest

        source, items = _open(run.case.log, reading)
        if run.case.noise is not None:
            return source.fingerprint()
        record = ingest.ingest_record(source, items, experiment.config(run))
        return record["inputs"], record["settings"].get("reading")
    except (InputError, ImportError):
        return None


def _noisy_path(examples: Path) -> Path:
    """The log with noise that examples are made from."""
    return examples.with_name(f"{examples.name}.parquet")


def _ingest_config(experiment: Experiment, run: GridRun) -> RecallConfig:
    """A log with noise is split already; examples have times where one recipe wants them."""
    times = str(_want_times(experiment, run.case)).lower()
    config = experiment.config(run).override([f"model.time_bias={times}"])
    return config if run.case.noise is None else config.override(["ingest.protocol=provided"])


@functools.cache
def _want_times(experiment: Experiment, case: Case) -> bool:
    """Whether one of the recipes of a case looks at times of clicks."""
    configs = (experiment.config(GridRun(case, arm, 1)) for arm in experiment.arms)
    return any(config.model.time_bias for config in configs)


def check(experiment: Experiment) -> None:
    """Refuses settings that cannot be used, before anything is made.

    Raises:
        InputError: A setting is refused, would change nothing, leaves out what is measured, or an
            arm changes what examples are made with.
    """
    _check_effect(experiment)
    first: dict[str, tuple] = {}
    wanted = {int(name.partition("@")[2]) for name in experiment.metrics if "@" in name}
    # Seeds change nothing that is looked at.
    for run in experiment._replace(seeds=experiment.seeds[:1]).runs():
        config = experiment.config(run)
        if missing := sorted(wanted.difference(config.evaluation.all_ks)):
            raise InputError(
                f"evaluation.ks lacks {', '.join(map(str, missing))}, which {experiment.name} "
                "measures at. Add it, or leave the setting out."
            )
        made_with = _made_with({"settings": _ingest_config(experiment, run).to_dict()})
        if first.setdefault(run.case.name, made_with) != made_with:
            raise InputError(
                f"Arm {run.arm.name} changes what examples are made with. Give ingest settings "
                "and model.max_history_length by --set, for all arms."
            )


def _check_effect(experiment: Experiment) -> None:
    """Refuses settings of all runs that every run has a value of its own for."""
    of_arms = [{_key(text) for text in arm.settings} for arm in experiment.arms]
    for text in experiment.settings:
        if _key(text) == "train.seed":
            raise InputError("--set=train.seed is what --seeds is for: runs have the seeds 1 to N.")
        if of_arms and _key(text) in set.intersection(*of_arms):
            raise InputError(
                f"--set={text} would change nothing: every recipe of {experiment.name} has a "
                f"{_key(text)} of its own. Leave it out."
            )


def _key(assignment: str) -> str:
    return assignment.partition("=")[0].strip()


def _made_with(record: dict) -> tuple:
    """What examples depend on beside the log, of a record or of settings."""
    settings = record["settings"]
    ingest = RecallConfig.from_dict({"ingest": settings["ingest"]}).ingest
    model = settings["model"]
    return ingest, model["max_history_length"], model.get("time_bias", False)
