"""What the answers of the soak are compared with, by numpy alone.

Two catalogues are published in turn, and some of their items change all the time.
An answer says which version it is from; the rest follows from what was sent when.
"""

import threading
import time
from typing import NamedTuple

import numpy as np

from tests.serving.conftest import TinyCatalogue

TOLERANCE = 1e-4
"""Between scores of float32 sums in different orders."""

CHANGE_EVERY = 10
"""One row of so many is changed by a writer; the others never are."""


class Fact(NamedTuple):
    """What an item is from some moment on.

    Attributes:
        is_there: False once it is deleted.
        vector: The one that was given with it; None has the trained one.
        space: The catalogue in whose space it lies; None as long as nobody
            has said which version took it.
        acknowledged_s: From then on every answer must know.
    """

    is_there: bool
    vector: np.ndarray | None = None
    space: TinyCatalogue | None = None
    acknowledged_s: float = np.inf


class Answer(NamedTuple):
    """One answer of either door.

    Attributes:
        item_ids: Best first.
        scores: `[n]` float.
        version: Of the index.
        is_whole: Whether it is neither degraded nor the fallback.
    """

    item_ids: list[str]
    scores: np.ndarray
    version: int
    is_whole: bool


class World:
    """Everything that was ever true; safe to use from several threads."""

    def __init__(self, catalogues: tuple[TinyCatalogue, TinyCatalogue]):
        """Versions with an even number are of the first catalogue, the others of the second."""
        self._catalogues = catalogues
        self._lock = threading.Lock()
        self._facts: dict[str, list[Fact]] = {}
        rows = np.arange(len(catalogues[0].item_ids))
        self._is_fixed = rows % CHANGE_EVERY > 1

    def catalogue_of(self, version: int) -> TinyCatalogue:
        """The catalogue a version was made of."""
        return self._catalogues[version % 2]

    def items_of_writer(self, number: int) -> list[str]:
        """Trained items that writer 0 or 1 may change."""
        return list(self._catalogues[0].item_ids[number::CHANGE_EVERY])

    def begin(self, item_id: str, fact: Fact) -> None:
        """A change is sent; every item has one writer, and one change at a time."""
        with self._lock:
            before = self._facts.setdefault(item_id, [self._first_fact(item_id)])
            # What was acknowledged before the last acknowledgement is of no use to answers to come.
            self._facts[item_id] = [*before[-8:], fact]

    def end(self, item_id: str, version: int | None = None) -> None:
        """The change that was sent last is acknowledged, maybe by a version it is for."""
        space = None if version is None else self.catalogue_of(version)
        with self._lock:
            facts = self._facts[item_id]
            facts[-1] = facts[-1]._replace(space=space, acknowledged_s=time.monotonic())

    def faults(
        self,
        answer: Answer,
        *,
        history: tuple[str, ...],
        k: int,
        from_s: float,
        is_exact: bool,
    ) -> tuple[list[str], float]:
        """What is wrong with an answer, and what share of the fixed items due it has.

        Args:
            answer: The answer.
            history: Of the request.
            k: Of the request.
            from_s: When the request was sent.
            is_exact: Whether nothing may be missing.
        """
        if not answer.is_whole or len(answer.item_ids) != k:
            return [f"{len(answer.item_ids)} of {k} items, whole: {answer.is_whole}"], 0.0
        if len(set(answer.item_ids)) < k or set(answer.item_ids) & set(history):
            return ["an item twice, or one of the history"], 0.0
        if np.any(np.diff(answer.scores) > 0):
            return ["not in the order of the scores"], 0.0
        catalogue = self.catalogue_of(answer.version)
        users = catalogue.user_vectors(history)
        faults = [
            f"{item_id} of version {answer.version} has not the score {score}"
            for item_id, score in zip(answer.item_ids, answer.scores.tolist(), strict=True)
            if not self._allows(item_id, score, users, catalogue, from_s)
        ]
        found = self._share_found(answer, users, catalogue, history)
        if is_exact and found < 1:
            faults.append(f"an exact answer of version {answer.version} lacks items")
        return faults, found

    def _first_fact(self, item_id: str) -> Fact:
        return Fact(item_id in self._catalogues[0].item_ids, acknowledged_s=0.0)

    def _allows(
        self,
        item_id: str,
        score: float,
        users: np.ndarray,
        catalogue: TinyCatalogue,
        from_s: float,
    ) -> bool:
        """Whether the item had this score at some moment since `from_s`."""
        with self._lock:
            facts = list(self._facts.get(item_id, ()) or [self._first_fact(item_id)])
        settled = [n for n, fact in enumerate(facts) if fact.acknowledged_s <= from_s]
        vectors: list[np.ndarray] = []
        for fact in facts[settled[-1] if settled else 0 :]:
            vectors += _vectors_of(fact, item_id, catalogue)
        return any(abs(float((users @ v).max()) - score) < TOLERANCE for v in vectors)

    def _share_found(
        self,
        answer: Answer,
        users: np.ndarray,
        catalogue: TinyCatalogue,
        history: tuple[str, ...],
    ) -> float:
        """Share of the fixed items better than the answer's last one that it has."""
        scores = (users @ catalogue.item_vectors.T).max(axis=0)
        is_due = self._is_fixed & (scores > answer.scores[-1] + TOLERANCE)
        is_due[[catalogue.row_of(i) for i in history if i in catalogue.item_ids]] = False
        due = {catalogue.item_ids[row] for row in np.flatnonzero(is_due)}
        return len(due & set(answer.item_ids)) / len(due) if due else 1.0


def _vectors_of(fact: Fact, item_id: str, catalogue: TinyCatalogue) -> list[np.ndarray]:
    """Vectors that an item may have in a catalogue under one fact."""
    if not fact.is_there:
        return []
    trained = []
    if item_id in catalogue.item_ids:
        trained = [catalogue.item_vectors[catalogue.row_of(item_id)]]
    if fact.vector is None or fact.space not in (None, catalogue):
        return trained
    return [fact.vector] if fact.space is catalogue else [fact.vector, *trained]
