"""Whether examples are what the settings of a training ask for. Imports no TensorFlow."""

from pathlib import Path

from pipelines.artifacts import records
from recall.config import RecallConfig
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary


def check_history_length(config: RecallConfig, examples_dir: str | Path) -> None:
    """Windows longer than the model reads would lose clicks, shorter ones their past."""
    ingested = records.require(examples_dir, "ingest")["settings"]["model"]["max_history_length"]
    if ingested != config.model.max_history_length:
        raise InputError(
            f"{examples_dir} was made with model.max_history_length={ingested}, the model is to "
            f"read {config.model.max_history_length}. Pass "
            f"--set=model.max_history_length={ingested}, or run `recall ingest` again."
        )


def check_categories(
    config: RecallConfig, vocabulary: ItemVocabulary, examples_dir: str | Path
) -> None:
    """A model with categories learns nothing from items that have none."""
    if config.model.use_categories and not any(vocabulary.categories):
        raise InputError(
            f"model.use_categories=true, but no item of {examples_dir} has a category. Run "
            "`recall ingest` with --items and ids written as in the log, or leave "
            "model.use_categories out."
        )


def check_features(
    config: RecallConfig, vocabulary: ItemVocabulary, examples_dir: str | Path
) -> None:
    """The features of the items are those that the settings declare."""
    ingested = () if vocabulary.features is None else vocabulary.features.columns
    if tuple(fitted.column for fitted in ingested) != config.features.of("item"):
        raise InputError(
            f"{examples_dir} was made with other item features ("
            f"{', '.join(fitted.name for fitted in ingested) or 'none'}) than features.columns "
            "declares. Run `recall ingest` again with these settings."
        )
