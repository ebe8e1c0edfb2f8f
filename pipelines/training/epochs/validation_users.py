"""The held-out users and events by which the epochs of a training are compared."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging

from pipelines.artifacts.event_columns import ColumnsFound
from pipelines.artifacts.held_out import HeldOutUsers, read_held_out
from recall.config import RecallConfig
from recall.errors import InputError


def read(examples_dir: str | Path, config: RecallConfig) -> HeldOutUsers:
    """The validation users, with the held-out events that the model is asked to predict.

    Args:
        examples_dir: The folder that `recall ingest` wrote.
        config: `train.stopping_kinds`, or else the section `loss`, says which kinds these are.

    Returns:
        Users with at least one of them; of a log without kinds, and where all kinds count, all.

    Raises:
        InputError: A file is missing or damaged, or no event is of such a kind.
    """
    held_out, kinds = read_held_out(examples_dir, "valid"), ColumnsFound.read(examples_dir).kinds
    counted = _counted_kinds(config, kinds)
    if held_out.positive_kinds is None or len(counted) == len(kinds):
        return held_out
    numbers = [kinds.index(kind) + 1 for kind in counted]
    _, users = held_out.of_kinds(numbers)
    if not users.num_users:
        raise InputError(
            f"No validation event is of the kind {' or '.join(map(repr, counted))}, which the loss "
            "learns or train.stopping_kinds names: no epoch could be called the best. There are "
            f"{_count(held_out, kinds)}. Hold out more events (ingest.protocol, "
            "ingest.num_targets), or name one of these in train.stopping_kinds."
        )
    logging.info(
        "Epochs are compared by %d of %d validation events, those of the kind %s, of %d of %d "
        "users.",
        *(len(users.positives.values), len(held_out.positives.values), " or ".join(counted)),
        *(users.num_users, held_out.num_users),
    )
    return users


def _counted_kinds(config: RecallConfig, kinds: Sequence[str]) -> list[str]:
    """Those that are named, or else those that the loss learns."""
    named = config.train.stopping_kinds
    if named:
        return [kind for kind in kinds if kind in named]
    return [kind for kind in kinds if config.loss.weight_of(kind) > 0]


def _count(held_out: HeldOutUsers, kinds: Sequence[str]) -> str:
    """`3 view, 1 purchase`: the held-out events by their kinds."""
    numbers, counts = np.unique(held_out.positive_kinds, return_counts=True)
    return ", ".join(f"{n:,} {kinds[i - 1]}" for i, n in zip(numbers, counts, strict=True))
