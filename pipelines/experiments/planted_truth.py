"""What a synthetic log was made with: interests of items and users. Imports no TensorFlow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.synthetic import source
from pipelines.synthetic.config import SyntheticConfig
from pipelines.synthetic.world import PlantedUsers
from recall.errors import InputError
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary

_PREFIX = "synthetic:"


class PlantedLog(NamedTuple):
    """The planted interests, by the numbers of the vocabulary.

    Attributes:
        interest_of: `[num_items]` int, interest of each row of the vocabulary.
        users: The interests of user `u<r + 1>` in row r.
        num_interests: Of the world.
    """

    interest_of: np.ndarray
    users: PlantedUsers
    num_interests: int


def read(log: str, vocabulary: ItemVocabulary) -> PlantedLog:
    """The truth of a log.

    Raises:
        InputError: It is no synthetic log.
    """
    if not log.startswith(_PREFIX):
        raise InputError(f"{log} has no planted interests. Choose {_PREFIX}key=value,... .")
    config = SyntheticConfig.from_text(log.removeprefix(_PREFIX))
    number_of = {source.interest_name(i): i for i in range(config.num_interests)}
    interest_of = np.array([number_of[names[0]] for names in vocabulary.categories])
    return PlantedLog(interest_of, source.planted_users(config), config.num_interests)


def find_predictable(
    truth: PlantedLog,
    user_ids: Sequence[bytes],
    cuts: np.ndarray,
    future_ids: np.ndarray,
    shares: np.ndarray,
) -> np.ndarray:
    """Which futures of a prototype the past foretells.

    A click of the future is of the prototype it belongs to most. The interest of the future in
    prototype k is the planted one that most of these clicks have. It was to be foreseen where it
    is one of the interests that made the past: those of the user so far, not what noise, an
    unrelated run or a later change of interests has brought. A prototype without a click in the
    future has nothing that could be foreseen.

    Args:
        truth: Of the log.
        user_ids: `[batch]`, as `u17`.
        cuts: `[batch]` clicks of each past.
        future_ids: `[batch, length]` dense ids, padded.
        shares: `[batch, length, num_prototypes]`, how much each click belongs to each.

    Returns:
        `[batch, num_prototypes]` bool.
    """
    is_real = future_ids >= FIRST_ITEM_ID
    planted = truth.interest_of[np.maximum(future_ids - FIRST_ITEM_ID, 0)]
    one_hot = np.eye(truth.num_interests)[planted] * is_real[:, :, None]
    belongs = np.eye(shares.shape[2])[shares.argmax(axis=2)]
    clicks = np.einsum("blk,bli->bki", belongs, one_hot)
    dominating = clicks.argmax(axis=2)
    rows = np.array([int(user_id[1:]) - 1 for user_id in user_ids])
    first, later = truth.users.interests[rows], truth.users.later_interests[rows]
    is_first = (dominating[:, :, None] == first[:, None, :]).any(axis=2)
    is_later = (dominating[:, :, None] == later[:, None, :]).any(axis=2)
    has_turned = cuts > truth.users.turns[rows]
    has_clicks = clicks.any(axis=2)
    return has_clicks & (is_first | (is_later & has_turned[:, None]))


def normalised_mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Mutual information of two labellings, divided by the mean of their entropies.

    Args:
        first: `[n]` int labels >= 0.
        second: `[n]` int labels >= 0.

    Returns:
        In [0, 1]; 0 where either has one label alone.

    >>> normalised_mutual_information(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1 / len(first))
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    entropies = [-float(np.sum(p[p > 0] * np.log(p[p > 0]))) for p in (rows, columns)]
    if min(entropies) == 0:
        return 0.0
    there = table > 0
    ratio = table[there] / np.outer(rows, columns)[there]
    information = float(np.sum(table[there] * np.log(ratio)))
    return max(0.0, information / float(np.mean(entropies)))  # Rounding may be below.


def describe_selection(is_confident: np.ndarray, is_predictable: np.ndarray) -> dict[str, float]:
    """How well confident pairs are those that were to be foreseen; both `[n, K]` bool."""
    base_rate = float(is_predictable.mean())
    both = float((is_confident & is_predictable).sum())
    precision = both / max(1, int(is_confident.sum()))
    return {
        "pair_base_rate": base_rate,
        "confident_precision": precision,
        "confident_lift": precision / base_rate if base_rate else 0.0,
        "confident_recall": both / max(1, int(is_predictable.sum())),
    }
