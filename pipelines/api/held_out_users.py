"""A model judged on the held-out users of another log."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import held_out, records
from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from recall.ragged import Ragged
from recall.settings.evaluation import EvaluationConfig
from recall.vocabulary import FIRST_ITEM_ID, UNKNOWN_ID, ItemVocabulary
from serving.retrieval.user_vectors import UserVectors


def judge(
    examples_dir: Path,
    vocabulary: ItemVocabulary,
    embed: Any,
    item_vectors: np.ndarray,
    config: EvaluationConfig,
    max_history_length: int,
) -> Mapping[str, Any]:
    """Metrics on the test users of examples that have a vocabulary of their own.

    Args:
        examples_dir: Their folder.
        vocabulary: Of the model, in the order of `item_vectors`.
        embed: Histories of raw ids -> `UserVectors`.
        item_vectors: `[num_items, dim]` float32.
        config: Cut-offs, and whether seen items are excluded.
        max_history_length: Most recent events a user vector is made from.

    Returns:
        As a section of report.json.
    """
    users = _translate(held_out.read_held_out(examples_dir, "test"), examples_dir, vocabulary)

    def compute_user_vectors(history_ids: np.ndarray) -> np.ndarray:
        raw = [tuple(vocabulary.to_raw(row[row >= FIRST_ITEM_ID])) for row in history_ids]
        vectors: UserVectors = embed(raw)
        return vectors.user_vectors

    result = lists.evaluate_user_vectors(
        compute_user_vectors,
        item_vectors,
        users,
        max_history_length=max_history_length,
        ks=config.all_ks,
        exclude_seen=config.exclude_seen,
    )
    return lists.describe(result, users, vocabulary, config.all_ks)


def _translate(users: HeldOutUsers, examples_dir: Path, vocabulary: ItemVocabulary) -> HeldOutUsers:
    """The users with dense ids of another vocabulary; items it lacks are unknown there."""
    theirs = records.read_vocabulary(examples_dir)
    numbers = {item_id: row + FIRST_ITEM_ID for row, item_id in enumerate(vocabulary.item_ids)}
    table = np.array(
        [0, UNKNOWN_ID, *(numbers.get(item_id, UNKNOWN_ID) for item_id in theirs.item_ids)]
    )

    def translate(ids: Ragged) -> Ragged:
        return Ragged(table[ids.values], ids.offsets)

    return HeldOutUsers(
        users.user_ids,
        translate(users.histories),
        translate(users.positives),
        users.num_trained,
        starts_with_slot=users.starts_with_slot,
    )
