"""Values of features that the users of a job have: how many the model knows.

Imports no TensorFlow. Counts have plain names, as those of parts are kept in their files.
"""

import contextlib
import contextvars
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from recall.feature_columns import unknown_values
from serving.servables.feature_values import USER_OWNERS, DeclaredFeatures, FeatureCount

_KNOWN, _UNKNOWN = "known_values", "unknown_values"


class BatchValues:
    """Told of what the user tower counts; adds it to the counts of the part in work.

    Attributes:
        max_share: Share of unknown values that asks for a warning.
    """

    def __init__(self, manifest: Mapping[str, Any]):
        """Reads what the user tower declares.

        Args:
            manifest: Of the tower.
        """
        self._declared = DeclaredFeatures(USER_OWNERS, manifest)
        self.max_share = self._declared.max_share
        # Parts of several threads share one release.
        self._counts: contextvars.ContextVar[Counter | None] = contextvars.ContextVar(
            "counts", default=None
        )

    @contextlib.contextmanager
    def into(self, counts: Counter) -> Iterator[None]:
        """Adds what is counted in the block, in this thread, to `counts`."""
        token = self._counts.set(counts)
        try:
            yield
        finally:
            self._counts.reset(token)

    def count(self, outputs: Mapping[str, np.ndarray]) -> None:
        """See `ValueCounter`."""
        counts = self._counts.get()
        if counts is not None:
            for found in self._declared.read(outputs):
                place = f"{found.owner}.{found.feature}"
                counts[f"{_KNOWN}.{place}"] += found.known
                counts[f"{_UNKNOWN}.{place}"] += found.unknown


def read(counts: Mapping[str, int]) -> Iterator[FeatureCount]:
    """The features of which there were values."""
    for key, unknown in counts.items():
        kind, _, place = key.partition(".")
        if kind == _UNKNOWN:
            yield FeatureCount(*place.split("."), counts[f"{_KNOWN}.{place}"], unknown)


def warnings_of(counts: Mapping[str, int], max_share: float) -> list[str]:
    """A line for every feature with too many unknown values.

    >>> counts = {"known_values.user.country": 3, "unknown_values.user.country": 1}
    >>> warnings_of(counts, 0.25)
    []
    >>> print(*warnings_of(counts, 0.2))
    25.0% of the values of the user feature 'country' (1 of 4) are outside of the \
vocabulary (limit features.max_unknown_share = 0.2): they say nothing. Send values as in the file \
that the model was trained with, or train with a newer one.
    """
    lines = []
    for found in read(counts):
        total = found.known + found.unknown
        if found.unknown > max_share * total:
            told = unknown_values.describe_share(
                found.unknown / total,
                found.owner,
                found.feature,
                max_share,
                of=f"{found.unknown:,} of {total:,}",
            )
            lines.append(f"{told}: {unknown_values.SEND_OTHERS}")
    return lines
