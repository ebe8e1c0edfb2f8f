"""What the recall service needs of a user tower, wherever it is.

Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from serving.protocol.status import Code, ServingError

OUTPUT_NAMES = ("user_vectors", "interest_weights", "num_known", "num_unknown", "fingerprint")


class UserVectors(NamedTuple):
    """What the user tower says about a batch of histories.

    Attributes:
        user_vectors: `[batch, num_interests, dim]` float32.
        interest_weights: `[batch, num_interests]` float32, each row sums to 1; 0 where an
            interest is switched off for the user (`model.min_interest_weight`).
        num_known: `[batch]` int, ids of the history that are items.
        num_unknown: `[batch]` int, ids of the history that are not.
        fingerprint: The embedding space, as exported.
        model_version: Version of the user tower that answered.
        num_known_values: `[batch]` int, values of features that the model knows; None where
            none were given.
    """

    user_vectors: np.ndarray
    interest_weights: np.ndarray
    num_known: np.ndarray
    num_unknown: np.ndarray
    fingerprint: str
    model_version: int
    num_known_values: np.ndarray | None = None

    @property
    def is_of_somebody(self) -> np.ndarray:
        """`[batch]` bool, where something is known: a click, or a feature."""
        known = self.num_known > 0
        return known if self.num_known_values is None else known | (self.num_known_values > 0)


class UserVectorSource(Protocol):
    """Turns histories into user vectors; safe to call from several threads."""

    def compute(
        self,
        histories: Sequence[Sequence[str]],
        *,
        contexts: Sequence[Mapping[str, Any] | None] = (),
        timeout_s: float | None = None,
    ) -> UserVectors:
        """User vectors of at least one history of raw item ids, oldest first.

        Args:
            histories: Of every user.
            contexts: What else is known of every user, by name; () of nobody anything.
            timeout_s: Time left.
        """


def parse_user_vectors(
    outputs: Mapping[str, np.ndarray], batch_size: int, model_version: int
) -> UserVectors:
    """Checks the outputs of a user tower and puts them into a `UserVectors`.

    Raises:
        ServingError: An output is missing or has a wrong shape.
    """
    missing = [name for name in OUTPUT_NAMES if name not in outputs]
    if missing:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"The user tower has no output `{missing[0]}`. Export it again with `recall export`.",
        )
    vectors, weights, num_known, num_unknown, fingerprints = (outputs[n] for n in OUTPUT_NAMES)
    batch_and_rank = [(batch_size, rank) for rank in (3, 2, 1, 1, 1)]
    shapes = [(len(outputs[n]), outputs[n].ndim) for n in OUTPUT_NAMES if outputs[n].ndim]
    if shapes != batch_and_rank:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"The user tower answered {batch_size} histories with outputs of the shapes "
            f"{[list(outputs[n].shape) for n in OUTPUT_NAMES]}.",
        )
    fingerprint = fingerprints[0]
    return UserVectors(
        vectors,
        weights,
        num_known,
        num_unknown,
        fingerprint.decode() if isinstance(fingerprint, bytes) else str(fingerprint),
        int(model_version),
        outputs.get("num_known_values"),
    )
