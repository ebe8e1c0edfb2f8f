"""Users of a run and what they clicked, by raw ids; and a model judged on other users."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import held_out, records
from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from recall.errors import InputError
from recall.ragged import Ragged
from recall.settings.evaluation import EvaluationConfig
from recall.vocabulary import FIRST_ITEM_ID, UNKNOWN_ID, ItemVocabulary
from serving.retrieval.user_vectors import UserVectors


class UserHistories:
    """All that the users with held-out clicks have clicked, those clicks included."""

    def __init__(self, examples_dir: Path):
        """Reads them.

        Raises:
            InputError: There are none, or a file is damaged.
        """
        self._vocabulary = records.read_vocabulary(examples_dir)
        self._users: dict[str, tuple[HeldOutUsers, int]] = {}
        for split in held_out.HELD_OUT_SPLITS:  # The test split comes last and is the longest.
            try:
                users = held_out.read_held_out(examples_dir, split)
            except InputError:
                if split == held_out.HELD_OUT_SPLITS[-1] and not self._users:
                    raise
                continue
            self._users |= {
                user_id.decode(): (users, row) for row, user_id in enumerate(users.user_ids)
            }

    @property
    def user_ids(self) -> list[str]:
        """Raw ids."""
        return list(self._users)

    def histories(self, user_ids: Sequence[str]) -> list[tuple[str, ...]]:
        """What each clicked, raw ids, oldest first.

        Raises:
            InputError: One is no user of the run.
        """
        unknown = [user_id for user_id in user_ids if user_id not in self._users]
        if unknown:
            raise InputError(
                f"{len(unknown)} of {len(user_ids)} users are unknown, first {unknown[0]!r}. A run "
                f"keeps the {len(self._users)} users that have enough events to hold some out; for "
                "others give histories=[...]."
            )
        return [self._history(*self._users[user_id]) for user_id in user_ids]

    def _history(self, users: HeldOutUsers, row: int) -> tuple[str, ...]:
        dense = np.concatenate([users.histories[row], users.positives[row]])
        return tuple(self._vocabulary.to_raw(dense[dense >= FIRST_ITEM_ID]))


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
