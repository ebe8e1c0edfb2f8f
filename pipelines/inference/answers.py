"""The work on one batch of inputs, by what is wanted: recommendations, similar items, vectors.

The answers are those of the service that a server asks (`serving.retrieval`). What is here
makes batches of histories of like lengths and puts answers into tables.
"""

import abc
import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.inference import answer_tables, contexts
from pipelines.inference.opened_release import OpenedRelease
from serving.api.recall_request import RecallRequest, RecallResponse
from serving.index.catalogue import NO_ROW
from serving.retrieval.reasons import nearest_clicked
from serving.retrieval.user_vectors import UserVectors

_SLICE_ROWS = 4096
"""Rows whose answers are in memory together: 12 MB at 200 items each."""

_MAX_BATCH = 512
"""Histories in one call of the user tower."""

_MAX_BATCH_IDS = 1 << 16
"""Ids in one such call, padding among them: long histories come in small batches."""


class Answerer(abc.ABC):
    """What is wanted of every row of the inputs; goes to workers as it is."""

    @abc.abstractmethod
    def schema(self, opened: OpenedRelease) -> pa.Schema:
        """Columns of the result."""

    @abc.abstractmethod
    def answer(self, rows: pa.Table, opened: OpenedRelease, counts: Counter) -> pa.Table:
        """The result of a few thousand rows; adds to `counts`."""

    def answer_all(
        self, rows: pa.Table, opened: OpenedRelease, counts: Counter
    ) -> Iterator[pa.Table]:
        """The result of any number of rows, in memory that does not grow with it."""
        for start in range(0, rows.num_rows, _SLICE_ROWS):
            part = rows.slice(start, _SLICE_ROWS).combine_chunks()
            with opened.values.into(counts):
                answer = self.answer(part, opened, counts)
            yield answer
            counts["rows"] += part.num_rows


@dataclasses.dataclass(frozen=True)
class RecommendUsers(Answerer):
    """Items for users.

    Attributes:
        k: Items for each.
        fields: Of `RecallRequest`: filters and more.
        skip_unknown: Whether users none of whose clicks are items are left out; else they
            get popular items.
        with_reasons: Whether each item has the nearest clicked one beside it.
    """

    k: int
    fields: Mapping[str, Any]
    skip_unknown: bool
    with_reasons: bool

    def request(
        self, history: tuple[str, ...], context: Mapping[str, Any] | None = None
    ) -> RecallRequest:
        """What the service is asked for a user."""
        return RecallRequest(history=history, k=self.k, context=context, **self.fields)

    def schema(self, opened: OpenedRelease) -> pa.Schema:
        """See `Answerer`."""
        return answer_tables.recommendations_schema(with_reasons=self.with_reasons)

    def answer(self, rows: pa.Table, opened: OpenedRelease, counts: Counter) -> pa.Table:
        """See `Answerer`."""
        histories, beside = _read_histories(rows), contexts.read(rows)
        responses: list[RecallResponse] = [None] * len(histories)
        for batch in batches_by_length([len(history) for history in histories]):
            requests = [self.request(histories[i], beside[i]) for i in batch]
            answers = opened.service.recall(requests)
            for i, answer in zip(batch, answers, strict=True):
                responses[i] = answer
        _count_asked(counts, responses)
        kept = [i for i, r in enumerate(responses) if not (self.skip_unknown and r.is_fallback)]
        responses = [responses[i] for i in kept]
        _count_written(counts, responses)
        user_ids = rows[answer_tables.USER_ID].combine_chunks().take(pa.array(kept, pa.int64()))
        because = None
        if self.with_reasons:
            because = [
                _because(opened, response, histories[i])
                for i, response in zip(kept, responses, strict=True)
            ]
        return answer_tables.recommendations_table(user_ids, responses, because)


@dataclasses.dataclass(frozen=True)
class SimilarItems(Answerer):
    """For each item those like it.

    Attributes:
        k: Items for each.
        fields: Of `RecallRequest`: filters and more.
    """

    k: int
    fields: Mapping[str, Any]

    def request(self, item_id: str) -> RecallRequest:
        """What the service is asked for an item."""
        return RecallRequest(similar_to=(item_id,), k=self.k, **self.fields)

    def schema(self, opened: OpenedRelease) -> pa.Schema:
        """See `Answerer`."""
        return answer_tables.SIMILAR_SCHEMA

    def answer(self, rows: pa.Table, opened: OpenedRelease, counts: Counter) -> pa.Table:
        """See `Answerer`."""
        item_ids = rows[answer_tables.ITEM_ID].combine_chunks()
        requests = [self.request(item_id) for item_id in item_ids.to_pylist()]
        responses = []
        for start in range(0, len(requests), _MAX_BATCH):
            responses += opened.service.recall(requests[start : start + _MAX_BATCH])
        _count_asked(counts, responses)
        _count_written(counts, responses)
        return answer_tables.similar_table(item_ids, responses)


@dataclasses.dataclass(frozen=True)
class EmbedUsers(Answerer):
    """Vectors of users.

    Attributes:
        skip_unknown: Whether users are left out of whom the model knows no click and no
            feature; else their vectors are what the tower makes of an empty history.
    """

    skip_unknown: bool

    def schema(self, opened: OpenedRelease) -> pa.Schema:
        """See `Answerer`."""
        vectors = opened.source.compute([()]).user_vectors
        return answer_tables.user_vectors_schema(*vectors.shape[1:])

    def answer(self, rows: pa.Table, opened: OpenedRelease, counts: Counter) -> pa.Table:
        """See `Answerer`."""
        histories, beside = _read_histories(rows), contexts.read(rows)
        batches = list(batches_by_length([len(history) for history in histories]))
        answers = [
            opened.source.compute(
                [histories[i] for i in batch],
                **({"contexts": [beside[i] for i in batch]} if any(beside) else {}),
            )
            for batch in batches
        ]
        back = np.argsort(np.concatenate(batches))
        columns = [np.concatenate([answer[n] for answer in answers])[back] for n in range(4)]
        known, unknown = columns[2:]
        is_of_somebody = np.concatenate([answer.is_of_somebody for answer in answers])[back]
        counts["fallback"] += int((~is_of_somebody).sum())
        counts["known_ids"] += int(known.sum())
        counts["unknown_ids"] += int(unknown.sum())
        user_ids = rows[answer_tables.USER_ID].combine_chunks()
        if self.skip_unknown:
            kept = np.flatnonzero(is_of_somebody)
            columns, user_ids = [c[kept] for c in columns], user_ids.take(pa.array(kept))
        counts["answered"] += len(user_ids)
        result = UserVectors(*columns, answers[0].fingerprint, answers[0].model_version)
        return answer_tables.user_vectors_table(user_ids, result)


@dataclasses.dataclass(frozen=True)
class EmbedItems(Answerer):
    """Vectors of items."""

    def schema(self, opened: OpenedRelease) -> pa.Schema:
        """See `Answerer`."""
        return answer_tables.item_vectors_schema(opened.catalogue.dim)

    def answer(self, rows: pa.Table, opened: OpenedRelease, counts: Counter) -> pa.Table:
        """See `Answerer`."""
        item_ids = rows[answer_tables.ITEM_ID].combine_chunks()
        numbers = opened.catalogue.rows_of(item_ids.cast(pa.binary()).to_pylist())
        counts["answered"] += len(numbers)
        return answer_tables.item_vectors_table(item_ids, opened.catalogue.vectors(numbers))


def batches_by_length(lengths: Sequence[int]) -> Iterator[np.ndarray]:
    """Positions of histories that share a batch, so that little of it is padding.

    >>> [batch.tolist() for batch in batches_by_length([3, 70_000, 1, 2])]
    [[2, 3, 0], [1]]
    """
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end, position in enumerate(order.tolist()):
        size = end - start + 1
        # The newest is the longest, so that all are padded to its length.
        if end > start and (size > _MAX_BATCH or size * lengths[position] > _MAX_BATCH_IDS):
            yield order[start:end]
            start = end
    if start < len(order):
        yield order[start:]


def _read_histories(rows: pa.Table) -> list[tuple[str, ...]]:
    """The column of histories as the service takes them."""
    column = rows[answer_tables.HISTORY_COLUMN].combine_chunks()
    # As an array of objects: ten times faster than item by item.
    ids = column.flatten().to_numpy(zero_copy_only=False).tolist()
    offsets = np.concatenate([[0], np.cumsum(np.diff(column.offsets.to_numpy()))]).tolist()
    return [tuple(ids[a:b]) for a, b in itertools.pairwise(offsets)]


def _because(
    opened: OpenedRelease, response: RecallResponse, history: tuple[str, ...]
) -> np.ndarray:
    """`[n]` bytes, the clicked item nearest to each of an answer, b"" for none."""
    view = opened.catalogue
    clicked = view.rows_of([item_id.encode() for item_id in history])
    rows = nearest_clicked(view, response.rows, clicked)
    if not len(rows) or rows[0] == NO_ROW:
        return np.full(len(rows), b"", "S1")
    return view.item_ids(rows)


def _count_asked(counts: Counter, responses: Sequence[RecallResponse]) -> None:
    counts["fallback"] += sum(response.is_fallback for response in responses)
    counts["known_ids"] += sum(response.num_known for response in responses)
    counts["unknown_ids"] += sum(response.num_unknown for response in responses)


def _count_written(counts: Counter, responses: Sequence[RecallResponse]) -> None:
    counts["answered"] += len(responses)
    counts["items"] += sum(len(response.scores) for response in responses)
    counts["empty"] += sum(not len(response.scores) for response in responses)
