"""The training split in the form of batch that the step takes: padded or packed."""

from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from pipelines.training import input_pipeline
from pipelines.training.packed_input import PackedExamples
from pipelines.training.placement.input_share import WHOLE_INPUT, InputShare
from recall.config import RecallConfig


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
