"""What a run left in its folder, read once; what is missing is None. Imports no TensorFlow."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pipelines.artifacts import records
from pipelines.artifacts.records import RunPaths
from pipelines.evaluation.user_results import UserResults
from recall.errors import InputError
from recall.settings.evaluation import main_cut_off
from recall.vocabulary import ItemVocabulary
from serving.release import manifest as manifests
from serving.release import release, storage

_JOBS = ("ingest", "validate", "train", "evaluate", "export", "index")
"""Jobs with a record, in the order of the folders of `RunPaths`."""

_CUT_OFF = 10

_Part = TypeVar("_Part")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFolder:
    """A run, as far as it has come.

    Attributes:
        name: What to call it.
        directory: The folder.
        records: What made the artifact, by job, of the finished ones.
        made: How the job went that made it, the same; {} of earlier versions.
        ingest_report: What ingest read, dropped and kept.
        statistics: Sizes of the log and of the splits.
        vocabulary: The items.
        epochs: What training wrote of each epoch, oldest first.
        warm_start: What training began with, if that was an earlier model.
        config: The settings of the model, as plain values.
        validation: Content of validation/validation.json; earlier versions left none.
        evaluation: Content of evaluation/report.json.
        details: Content of evaluation/details.json; earlier versions left none.
        users: Places of the held-out clicks of every test user; the same.
        index: Manifest of the index without its checksums.
        version: The newest published version, where it is of this run's embedding space.
    """

    name: str
    directory: Path
    records: Mapping[str, Mapping[str, Any]]
    made: Mapping[str, Mapping[str, Any]]
    ingest_report: Mapping[str, Any] | None
    statistics: Mapping[str, Any] | None
    vocabulary: ItemVocabulary | None
    epochs: Sequence[Mapping[str, float]]
    warm_start: Mapping[str, Any] | None
    config: Mapping[str, Any] | None
    validation: Mapping[str, Any] | None
    evaluation: Mapping[str, Any] | None
    details: Mapping[str, Any] | None
    users: UserResults | None
    index: Mapping[str, Any] | None
    version: int | None

    EARLIER_EVALUATION: ClassVar = (
        "the folder has no evaluation of this version; remove `evaluation` and give `recall run` "
        "again."
    )

    @property
    def num_interests(self) -> int | None:
        """Interests of a user, None where the model is missing."""
        if self.config is None:
            return None
        model = self.config["model"]
        return 1 if model["extractor"] == "last_state" else model["num_interests"]

    @property
    def k(self) -> int:
        """The cut-off that the report is about: of those measured the one nearest to 10."""
        return main_cut_off(self.ks)

    @property
    def ks(self) -> Sequence[int]:
        """All that were measured."""
        return self.evaluation["protocol"]["ks"] if self.evaluation else [_CUT_OFF]

    def item_name(self, row: int) -> str:
        """What to call an item: its title or its id."""
        vocabulary = self.vocabulary
        if vocabulary is None:
            return f"row {row}"
        return vocabulary.titles[row] or vocabulary.item_ids[row]

    @classmethod
    def read(cls, run_dir: str | Path) -> "RunFolder":
        """Reads the folder of a run; a file that is missing or damaged is no error.

        Raises:
            InputError: It is no folder of a run: no job has finished there.
        """
        paths = RunPaths.under(run_dir)
        folders = dict(zip(_JOBS, paths, strict=False))
        found = {
            job: _attempt(lambda folder=folder: records.read_record(folder))
            for job, folder in folders.items()
        }
        found = {job: record for job, record in found.items() if record is not None}
        own = _attempt(lambda: records.read_record(run_dir))
        if not found and own is not None and own.get("job") == records.LISTS_JOB:
            raise InputError(
                f"{run_dir} has lists of another system, of which there is no such page. "
                "`recall compare` sets them beside runs."
            )
        if not found:
            raise InputError(
                f"{run_dir} holds no finished job. Name the folder that `recall run` wrote to."
            )
        return cls(
            name=Path(run_dir).resolve().name,
            directory=Path(run_dir),
            records=found,
            made={job: records.read_made(folders[job]) for job in found},
            ingest_report=_attempt(
                lambda: storage.read_json(paths.examples / records.INGEST_REPORT_NAME)
            ),
            statistics=_attempt(
                lambda: storage.read_json(paths.examples / records.STATISTICS_NAME)
            ),
            vocabulary=_attempt(lambda: records.read_vocabulary(paths.examples)),
            epochs=_attempt(lambda: records.read_training_log(paths.model)) or (),
            warm_start=_attempt(lambda: storage.read_json(paths.model / records.WARM_START_NAME)),
            config=_attempt(lambda: records.read_config(paths.model).to_dict()),
            validation=_attempt(
                lambda: storage.read_json(paths.validation / records.VALIDATION_NAME)
            ),
            evaluation=_attempt(lambda: storage.read_json(paths.evaluation / records.REPORT_NAME)),
            details=_attempt(lambda: _read_details(paths.evaluation / records.DETAILS_NAME)),
            users=_attempt(lambda: UserResults.read(paths.evaluation / records.USERS_NAME)),
            index=_attempt(lambda: manifests.describe(manifests.read(paths.index))),
            version=_attempt(lambda: _find_version(paths)),
        )


def _attempt(read: Callable[[], _Part]) -> _Part | None:
    """What can be read, None where it cannot."""
    try:
        return read()
    except (InputError, OSError, ValueError) as error:
        _log.debug("Left out of the report: %s", error)
        return None


def _read_details(path: Path) -> dict[str, Any] | None:
    """Details in the format that the sections know."""
    values = storage.read_json(path)
    return values if values.get("format") == records.DETAILS_FORMAT else None


def _find_version(paths: RunPaths) -> int | None:
    """The newest published version, where it is of this run's index."""
    own = manifests.read(paths.index)["fingerprint"]
    note = paths.index.parent / records.PUBLISHED_NAME
    if note.exists():
        published = storage.read_json(note)
        return published["version"] if published["fingerprint"] == own else None
    newest = release.latest_release(paths.serving)
    return newest.version if newest.fingerprint == own else None
