"""Files of one run: a folder that is finished when it holds `run.json`. No TensorFlow."""

import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipelines.artifacts import records
from pipelines.experiments.grids import logs
from pipelines.experiments.grids.grid import Experiment, GridRun
from pipelines.experiments.outcomes.measures import Measured
from recall.config import RecallConfig
from recall.errors import InputError
from recall.metrics.ranking import UserMetric
from serving.release import storage

RUN_NAME, USERS_NAME = "run.json", "users.npz"
_FACTS = ("settings", "values", "made", "versions", "device", "num_users", "num_positives")
"""What every `run.json` has, among others."""

_GAINS, _WEIGHTS = "gains:", "weights:"


class FinishedRun(NamedTuple):
    """A finished run.

    Attributes:
        run: Which one.
        facts: Content of `run.json`.
        users: Metrics of its users, by name.
    """

    run: GridRun
    facts: Mapping[str, Any]
    users: dict[str, UserMetric]

    @property
    def values(self) -> dict[str, float]:
        """Every metric, over all users."""
        by_user = {name: metric.total() for name, metric in self.users.items() if _counts(metric)}
        return by_user | self.facts["values"]


def folder_of(output_dir: str | Path, run: GridRun) -> Path:
    """Where a run has its files."""
    return Path(output_dir) / "runs" / run.key


def examples_dir(output_dir: str | Path, run: GridRun) -> Path:
    """Examples of a run's case."""
    return Path(output_dir) / "examples" / run.key.partition("/")[0]


def settings_of(experiment: Experiment, run: GridRun) -> dict[str, Any]:
    """What a run's results depend on, beside its log."""
    sections = ["ingest", "model", "loss", "train", "evaluation"]
    return {"log": run.case.log, "noise": run.case.noise} | experiment.config(run).to_dict(sections)


def write(
    folder: Path, settings: Mapping[str, Any], measured: Measured, facts: Mapping[str, Any]
) -> None:
    """Writes the files of a run, `run.json` last."""
    arrays = {
        prefix + name: column.astype(np.float32)
        for name, metric in measured.users.items()
        for prefix, column in zip((_GAINS, _WEIGHTS), metric, strict=True)
    }
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{USERS_NAME}"
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    partial.replace(folder / USERS_NAME)
    record = records.build_record("experiment", settings, {})
    storage.write_json(folder / RUN_NAME, {**record, **facts, "values": measured.values})


def is_finished(output_dir: str | Path, experiment: Experiment, run: GridRun) -> bool:
    """Whether a run is done, with these settings.

    Raises:
        InputError: It was done with others.
    """
    path = folder_of(output_dir, run) / RUN_NAME
    if not path.exists():
        return False
    # Settings that came with a later version have their defaults.
    kept = _read_facts(path.parent, ["settings"])["settings"]
    sections = {name: part for name, part in kept.items() if isinstance(part, dict)}
    kept |= json.loads(json.dumps(RecallConfig.from_dict(sections).to_dict(sections)))
    before = dict(records.list_settings(kept))
    record = records.build_record("experiment", settings_of(experiment, run), {})
    now = dict(records.list_settings(record["settings"]))
    for name in {**before, **now}:
        if before.get(name) != now.get(name) and not (name == "log" and _is_moved(kept, run)):
            raise InputError(
                f"{path} has {name}={before.get(name)}, not {now.get(name)}. Choose another "
                f"--output, or remove {path.parent} to make the run again."
            )
    return True


def read(output_dir: str | Path, run: GridRun) -> FinishedRun:
    """A finished run.

    Raises:
        InputError: Its files are missing or damaged.
    """
    folder = folder_of(output_dir, run)
    facts = _read_facts(folder, _FACTS)
    try:
        with (folder / USERS_NAME).open("rb") as file, np.load(file) as arrays:
            users = {
                name.removeprefix(_GAINS): UserMetric(
                    arrays[name].astype(np.float64),
                    arrays[_WEIGHTS + name.removeprefix(_GAINS)].astype(np.float64),
                )
                for name in arrays.files
                if name.startswith(_GAINS)
            }
    # What NumPy raises of a file that was cut short or changed depends on the place.
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(
            folder, f"Cannot read {folder / USERS_NAME}: {str(error).rstrip('.')}"
        ) from error
    if {len(column) for metric in users.values() for column in metric} != {facts["num_users"]}:
        raise _damaged(folder, f"{folder / USERS_NAME} is not of {facts['num_users']} users")
    return FinishedRun(run, facts, users)


def _read_facts(folder: Path, wanted: Sequence[str]) -> dict[str, Any]:
    """Content of `run.json`, which has to have some keys."""
    try:
        facts = storage.read_json(folder / RUN_NAME)
    except InputError as error:
        raise _damaged(folder, str(error).removesuffix(".")) from error
    lacking = [name for name in wanted if not isinstance(facts, dict) or name not in facts]
    if lacking:
        raise _damaged(folder, f"{folder / RUN_NAME} lacks {lacking[0]!r}")
    return facts


def _damaged(folder: Path, what: str) -> InputError:
    return InputError(f"{what}. Remove {folder} and give the command again.")


def _is_moved(kept: Mapping[str, Any], run: GridRun) -> bool:
    """Whether a log lies elsewhere now; its examples tell whether it is the same."""
    return not (logs.is_named(str(kept.get("log"))) or logs.is_named(run.case.log))


def clear(folder: Path) -> None:
    """Removes what a run needs no longer: the model and its checkpoints."""
    shutil.rmtree(folder / "model", ignore_errors=True)


def _counts(metric: UserMetric) -> bool:
    return bool(metric.weights.sum() > 0)
