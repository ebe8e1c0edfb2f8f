"""The training split in the form of batch that the step takes; what it has to be like."""

from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from pipelines.artifacts import records
from pipelines.training import input_pipeline
from pipelines.training.packed_input import PackedExamples
from pipelines.training.placement.input_share import WHOLE_INPUT, InputShare
from recall.config import RecallConfig
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary


class PaddedExamples(NamedTuple):
    """The training split, read anew in every epoch: `PackedExamples` without packing."""

    examples_dir: Path
    config: RecallConfig
    share: InputShare = WHOLE_INPUT

    @property
    def steps_per_epoch(self) -> int:
        """Updates of the weights in an epoch."""
        return input_pipeline.count_steps_per_epoch(self.examples_dir, self.config)

    @property
    def calls_per_epoch(self) -> int:
        """Batches of an epoch, for each replica."""
        return self.steps_per_epoch

    def stream(
        self, first_epoch: int, first_step: int = 0, reader: int | tf.Tensor = 0
    ) -> input_pipeline.TrainingData:
        """Batches from a step of an epoch on; `reader` is a number of those of the share."""
        share = self.share._replace(reader=reader)
        return input_pipeline.read_training_data(
            self.examples_dir,
            self.config,
            first_epoch=first_epoch,
            first_step=first_step,
            share=share,
        )


def open_examples(
    config: RecallConfig,
    examples_dir: Path,
    share: InputShare = WHOLE_INPUT,
) -> PackedExamples | PaddedExamples:
    """The training split in the form of batch that the step takes."""
    if config.train.jit_compile:
        return PackedExamples(examples_dir, config, share)
    return PaddedExamples(examples_dir, config, share)


def check_history_length(config: RecallConfig, examples_dir: str | Path) -> None:
    """Windows longer than the model reads would lose clicks, shorter ones their past."""
    ingested = records.require(examples_dir, "ingest")["settings"]["model"]["max_history_length"]
    if ingested != config.model.max_history_length:
        raise InputError(
            f"{examples_dir} was made with model.max_history_length={ingested}, the model is to "
            f"read {config.model.max_history_length}. Pass "
            f"--set=model.max_history_length={ingested}, or run `recall ingest` again."
        )


def check_features(
    config: RecallConfig, vocabulary: ItemVocabulary, examples_dir: str | Path
) -> None:
    """The features of items, events and requests are those that the settings declare."""
    ingested = () if vocabulary.features is None else vocabulary.features.columns
    if tuple(fitted.column for fitted in ingested) != config.features.of("item"):
        raise InputError(
            f"{examples_dir} was made with other item features ("
            f"{', '.join(fitted.name for fitted in ingested) or 'none'}) than features.columns "
            "declares. Run `recall ingest` again with these settings."
        )
    of_log = vocabulary.log_columns
    if tuple(fitted.column for fitted in of_log) != config.features.of_log:
        raise InputError(
            f"{examples_dir} was made with other features of events and requests ("
            f"{', '.join(fitted.name for fitted in of_log) or 'none'}) than features.columns "
            "declares. Run `recall ingest` again with these settings."
        )
