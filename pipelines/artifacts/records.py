"""Artifact folders: where they lie in a run, and the record of what made them.

Imports no TensorFlow. A folder is finished when it holds `artifact.json`; the
record in it names the job, its settings, the checksums of its inputs and the
versions of the software. A job is up to date when its record would not change.
Beside the record, under `made`, is how the job went (`provenance`).
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

import recall
from pipelines.artifacts import provenance, same_results
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.vocabulary import ItemVocabulary
from serving.release import folders, storage

RECORD_NAME = "artifact.json"
LISTS_JOB = "evaluate --lists"
"""Measures lists of another system: its folder is a run of one job, and has no model."""
LOCK_NAME = ".lock"
STARTED_NAME = "started.json"
"""The record of a training that has begun; its folder grows while it runs."""
STATISTICS_NAME = "statistics.json"
REPORT_NAME = "report.json"
DETAILS_NAME = "details.json"
DETAILS_FORMAT = 1
"""Raised when a reader of the old details could not read the new ones."""
USERS_NAME = "users.parquet"
VOCABULARY_NAME = "vocabulary.parquet"
ITEM_FEATURES_NAME = "item_features.parquet"
"""Row by row of the vocabulary; there where item features are declared."""
USER_FEATURES_NAME = "user_features.parquet"
"""Row by row of the users file, of a model no rows; there where user features are declared."""
LOG_FEATURES_NAME = "log_features.json"
"""What was learnt of features of events and of requests; there where some are declared."""
CONFIG_NAME = "config.json"
_OF_EARLIER_VERSIONS = {
    "model": {"filter_share": 0.0},
    "features": {"id_shrinkage": 0.0},
}
"""What a model was trained with whose config.json does not say it."""
VALIDATION_NAME = "validation.json"
INGEST_REPORT_NAME = "ingest_report.json"
TRAINING_LOG_NAME = "training_log.jsonl"
PUBLISHED_NAME = "published.json"
"""Beside the jobs' folders: where a run was published, if not in its own `serving/`."""
WARM_START_NAME = "warm_start.json"
"""What a training began with, where that was an earlier model."""
_MADE_KEY = "made"
"""What `artifact.json` holds besides the record."""
_RECORDED_PACKAGES = ("tensorflow", "tf_keras", "tensorflow-recommenders", "scann", "apache-beam")


class RunPaths(NamedTuple):
    """The artifact folders of one run."""

    examples: Path
    validation: Path
    model: Path
    evaluation: Path
    export: Path
    index: Path
    serving: Path

    @classmethod
    def under(cls, output_dir: str | Path) -> "RunPaths":
        """The folders below `output_dir`, named like the fields."""
        return cls(*(Path(output_dir) / name for name in cls._fields))


def build_record(
    job: str, settings: Mapping[str, Any], inputs: Mapping[str, str]
) -> dict[str, Any]:
    """Describes what makes an artifact.

    Args:
        job: Name of the job, for example `ingest`.
        settings: Plain values that change the result.
        inputs: Name -> checksum of everything the job reads.
    """
    versions = {"recall": recall.__version__}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "job": job,
        "settings": json.loads(json.dumps(settings)),
        "inputs": dict(inputs),
        "versions": versions,
    }


def write_record(artifact_dir: str | Path, record: Mapping[str, Any]) -> None:
    """Marks `artifact_dir` as finished; call it last.

    Inside a job that is `provenance.measured` it also says how that went.
    """
    made = provenance.current_facts()
    extra = {} if made is None else {_MADE_KEY: made}
    storage.write_json(Path(artifact_dir) / RECORD_NAME, {**record, **extra})


def read_record(artifact_dir: str | Path) -> dict[str, Any] | None:
    """The record of a finished artifact, None where there is none.

    It holds only what `build_record` says, so that two of them can be compared.
    """
    content = _read_content(artifact_dir)
    if content is None:
        return None
    return {key: value for key, value in content.items() if key != _MADE_KEY}


def read_made(artifact_dir: str | Path) -> dict[str, Any]:
    """How the job went that made an artifact; {} where nobody knows.

    `started` and `finished` (ISO 8601, UTC), `duration_s`, `cpu_s`, `peak_memory_bytes` of the
    process and those it started, `commit` of the product, `python`, `platform`, `cpus`. A
    training that was broken off and gone on with has the facts of the call that finished it.
    """
    made = (_read_content(artifact_dir) or {}).get(_MADE_KEY)
    return made if isinstance(made, dict) else {}


def _read_content(artifact_dir: str | Path) -> dict[str, Any] | None:
    """All of `artifact.json`."""
    path = Path(artifact_dir) / RECORD_NAME
    if not path.exists():
        return None
    content = storage.read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no record. Copy it or make it again.")
    return content


def is_current(artifact_dir: str | Path, record: Mapping[str, Any]) -> bool:
    """Whether `artifact_dir` is finished and was made by this record, see `same_results`."""
    made = read_record(artifact_dir)
    return made is not None and same_results.are_same(made, record)


def check_output(output_dir: str | Path, job: str, *, overwrite: bool = False) -> None:
    """Refuses a folder whose content `job` must not replace.

    Args:
        output_dir: Where the job is going to write; may be missing.
        job: Name of the job.
        overwrite: Whether another job's artifact may be replaced. What no job
            has made is never replaced.

    Raises:
        InputError: The path is a file, or the folder holds something else or is the current one.
    """
    path = Path(output_dir)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file. Name a folder.")
    if job != "train":  # Its folder grows in place.
        folders.check_replaceable(path)
    record = read_record(path)
    if record is None and (path / STARTED_NAME).exists():
        record = storage.read_json(path / STARTED_NAME)
    if record is None:
        # A job that was killed as it began has left nothing but a partial record.
        names = sorted(entry.name for entry in path.glob("*"))
        found = [n for n in names if n != LOCK_NAME and not fnmatch(n, ".*.partial")]
        if found:
            raise InputError(
                f"{path} is not empty ({found[0]}) and was not made by `recall {job}`. "
                "Choose another folder, or empty it first."
            )
    elif record.get("job") != job and not overwrite:
        raise InputError(
            f"{path} was made by `recall {record.get('job')}`, not by `recall {job}`. "
            "Choose another folder, or pass --overwrite to replace it."
        )


def require(artifact_dir: str | Path, job: str) -> dict[str, Any]:
    """The record of a folder that `job` must have made.

    Raises:
        InputError: The folder is missing, unfinished, or another job's.
    """
    record = read_record(artifact_dir)
    if record is None:
        raise InputError(f"{artifact_dir} holds no finished artifact. Run `recall {job}` first.")
    if record.get("job") != job:
        raise InputError(
            f"{artifact_dir} was made by `recall {record.get('job')}`, not by `recall {job}`."
        )
    return record


def checksum_of_record(artifact_dir: str | Path, job: str) -> str:
    """SHA-256 over the record of a finished artifact: its identity as an input."""
    text = json.dumps(require(artifact_dir, job), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def how_to_renew(artifact_dir: str | Path, job: str) -> str:
    """The remedy for a damaged artifact, for the end of an error text.

    A finished artifact counts as up to date whatever became of its files, so
    it has to go before the job makes it again.
    """
    return f"Remove {artifact_dir} and run `recall {job}` again."


def list_settings(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names with their values.

    >>> list(list_settings({"model": {"dim": 8}, "x": 1}))
    [('model.dim', 8), ('x', 1)]
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from list_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def read_training_log(model_dir: str | Path) -> list[dict[str, float]]:
    """What training wrote of each epoch, oldest first; none where there is no file.

    Raises:
        InputError: The file is damaged.
    """
    path = Path(model_dir) / TRAINING_LOG_NAME
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error


def write_vocabulary(artifact_dir: str | Path, vocabulary: ItemVocabulary) -> None:
    """Writes `vocabulary.parquet` into `artifact_dir`, and beside it what features items have."""
    pq.write_table(vocabulary.to_table(), Path(artifact_dir) / VOCABULARY_NAME)
    if vocabulary.features is not None:
        pq.write_table(vocabulary.features.to_table(), Path(artifact_dir) / ITEM_FEATURES_NAME)
    if vocabulary.users is not None:
        pq.write_table(vocabulary.users.to_table(), Path(artifact_dir) / USER_FEATURES_NAME)
    write_log_columns(artifact_dir, vocabulary.log_columns)


def read_vocabulary(artifact_dir: str | Path) -> ItemVocabulary:
    """Reads `vocabulary.parquet` of `artifact_dir`, and the features of the items.

    Raises:
        InputError: A file is missing or damaged.
    """
    path = Path(artifact_dir) / VOCABULARY_NAME
    places = {name: path.with_name(name) for name in (ITEM_FEATURES_NAME, USER_FEATURES_NAME)}
    try:
        vocabulary = ItemVocabulary.from_table(pq.read_table(path))
        for name, path in places.items():
            if path.exists():
                values = ItemFeatures.from_table(pq.read_table(path))
                is_of_items = name == ITEM_FEATURES_NAME
                add = vocabulary.with_features if is_of_items else vocabulary.with_users
                vocabulary = add(values)
        return vocabulary.with_log_columns(read_log_columns(artifact_dir))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"Cannot read the vocabulary {path}: {error}. Remove {artifact_dir} and make it again."
        ) from error


def write_log_columns(artifact_dir: str | Path, columns: Sequence[FittedColumn]) -> None:
    """Writes what was learnt of features of events and requests; nothing where there are none."""
    if columns:
        values = [column.to_dict() for column in columns]
        storage.write_json(Path(artifact_dir) / LOG_FEATURES_NAME, values)


def read_log_columns(artifact_dir: str | Path) -> tuple[FittedColumn, ...]:
    """Features of events and of requests in `artifact_dir`, with what was learnt of their values.

    Raises:
        InputError: The file is damaged.
    """
    path = Path(artifact_dir) / LOG_FEATURES_NAME
    if not path.exists():
        return ()
    try:
        return tuple(FittedColumn.from_dict(values) for values in storage.read_json(path))
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} holds no features of a log. Remove {artifact_dir} and make it again."
        ) from error


def write_config(artifact_dir: str | Path, config: RecallConfig) -> None:
    """Writes `config.json` into `artifact_dir`."""
    (Path(artifact_dir) / CONFIG_NAME).write_text(config.to_json(), encoding="utf-8")


def read_config(artifact_dir: str | Path) -> RecallConfig:
    """Reads `config.json` of `artifact_dir`; settings that its version did not have are off.

    Raises:
        InputError: The file is missing or not a valid config.
    """
    values = storage.read_json(Path(artifact_dir) / CONFIG_NAME)
    for section, earlier in _OF_EARLIER_VERSIONS.items():
        if isinstance(values, dict) and isinstance(values.get(section), dict):
            values[section] = earlier | values[section]
    return RecallConfig.from_dict(values)


def had_setting(artifact_dir: str | Path, section: str, key: str) -> bool:
    """Whether the version that wrote `config.json` of `artifact_dir` had that setting."""
    return key in storage.read_json(Path(artifact_dir) / CONFIG_NAME).get(section, {})
