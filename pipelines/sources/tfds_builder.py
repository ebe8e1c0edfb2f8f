"""Interaction logs as a TFDS dataset, for those who work with `tfds build`.

From the root of the repository:

    tfds build pipelines/sources/tfds_builder.py --config=log --manual_dir=<folder>

(the command needs the package mlcroissant besides TFDS) or, in Python,

    InteractionLog(config="log").download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=<folder>))

reads the file `events.*` in the folder, and afterwards
`tfds.load("interaction_log/log")` and the source `tfds:interaction_log/log`
both give its events, in the order of the log.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

# `tfds` imports TensorFlow first, which `recall` refuses without this. No model
# is built here, so which Keras was chosen does not matter.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

from pipelines.sources.events import DEFAULT_COLUMNS, EventColumns, EventSource
from pipelines.sources.file_source import FileSource
from pipelines.sources.tables import table_files
from recall.errors import InputError

_FILE_STEM = "events"


@dataclasses.dataclass(eq=False, kw_only=True)
class InteractionLogConfig(tfds.core.BuilderConfig):
    """Which log a dataset is made of.

    Attributes:
        path: File, folder or pattern of the log (see `pipelines.ingestion.open_log`);
            None takes the file `events.csv`, `.csv.gz`, `.tsv` or `.parquet`
            in TFDS's folder of manual downloads.
        columns: Names of the log's columns.
        has_split: Whether the log has a split column, kept as a feature.
        max_bad_rows: Bad rows that are skipped.
    """

    path: str | None = None
    columns: EventColumns = DEFAULT_COLUMNS
    has_split: bool = False
    max_bad_rows: int = 0


class InteractionLog(tfds.core.GeneratorBasedBuilder):
    """One example per event: user id, item id, seconds and perhaps a split."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}  # noqa: RUF012  (TFDS's own form)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the log into the folder as events.csv, events.csv.gz, events.tsv or events.parquet, "
        "with the columns user_id, item_id, timestamp and, for the config log_with_split, split."
    )
    BUILDER_CONFIGS = [  # noqa: RUF012
        InteractionLogConfig(name="log", description="Users, items and times."),
        InteractionLogConfig(
            name="log_with_split",
            description="The same with each event's split: train, valid, test or context.",
            has_split=True,
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "user_id": tfds.features.Text(doc="Raw id of the user."),
            "item_id": tfds.features.Text(doc="Raw id of the item."),
            # TFDS would keep a plain float64 as float32: 2 minutes off in 2024.
            "timestamp": tfds.features.Tensor(
                shape=(),
                dtype=np.float64,
                encoding=tfds.features.Encoding.BYTES,
                doc="Seconds, or any growing number.",
            ),
        }
        if self.builder_config.has_split:
            features["split"] = tfds.features.Text(doc="train, valid, test or context.")
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            description="A log of which user chose which item when.",
            disable_shuffling=True,  # The order of the log breaks ties of its times.
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        config = self.builder_config
        path = config.path or str(_find_log(Path(dl_manager.manual_dir)))
        columns = config.columns if config.has_split else config.columns._replace(split="")
        source = FileSource(path, columns)
        if config.has_split and not source.has_split:
            raise InputError(f"{path} has no column {columns.split!r}. Use the config `log`.")
        return {"train": self._generate_examples(source)}

    def _generate_examples(self, source: EventSource) -> Iterator[tuple[int, dict[str, Any]]]:
        for batch in source.read_batches(self.builder_config.max_bad_rows):
            for example in batch.to_pylist():
                yield example.pop("row"), example


def _find_log(folder: Path) -> Path:
    """The one file `events.*` of a folder.

    Raises:
        InputError: There is none, or more than one.
    """
    found = sorted(p for p in folder.glob(f"{_FILE_STEM}.*") if table_files.ending_of(p))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError(
            f"{folder} must hold one log named {_FILE_STEM}{table_files.ENDINGS[0]}, "
            f"{', '.join(table_files.ENDINGS[1:])}, for text also compressed; found: {names}."
        )
    return found[0]
