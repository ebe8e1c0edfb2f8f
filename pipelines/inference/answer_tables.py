"""Answers as Arrow tables: the schemas of the files, and columns at the speed of arrays.

Imports no TensorFlow.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from serving.api.recall_request import RecallResponse
from serving.retrieval.user_vectors import UserVectors

USER_ID, ITEM_ID = "user_id", "item_id"

HISTORY_COLUMN = "history"
"""Of the inputs: the raw ids that a user clicked, oldest first."""

_SCORED = [pa.field("item_id", pa.string()), pa.field("score", pa.float32())]
_SCORED_ITEM = pa.struct(_SCORED)
_RECOMMENDED_ITEM = pa.struct([*_SCORED, pa.field("interest", pa.int32())])
_EXPLAINED_ITEM = pa.struct([*_RECOMMENDED_ITEM, pa.field("because", pa.string())])


def recommendations_schema(*, with_reasons: bool) -> pa.Schema:
    """A row per user: `recall recommend`."""
    item = _EXPLAINED_ITEM if with_reasons else _RECOMMENDED_ITEM
    return pa.schema(
        [
            (USER_ID, pa.string()),
            ("recommendations", pa.list_(item)),
            ("is_fallback", pa.bool_()),
            ("num_known", pa.int32()),
            ("num_unknown", pa.int32()),
        ]
    )


SIMILAR_SCHEMA = pa.schema([(ITEM_ID, pa.string()), ("similar_items", pa.list_(_SCORED_ITEM))])
"""A row per item: `recall similar`."""


def user_vectors_schema(num_interests: int, dim: int) -> pa.Schema:
    """A row per user: `recall embed --events`."""
    return pa.schema(
        [
            (USER_ID, pa.string()),
            ("user_vectors", pa.list_(pa.list_(pa.float32(), dim), num_interests)),
            ("interest_weights", pa.list_(pa.float32(), num_interests)),
            ("num_known", pa.int32()),
            ("num_unknown", pa.int32()),
        ]
    )


def item_vectors_schema(dim: int) -> pa.Schema:
    """A row per item: `recall embed --items`."""
    return pa.schema([(ITEM_ID, pa.string()), ("item_vector", pa.list_(pa.float32(), dim))])


def recommendations_table(
    user_ids: pa.Array,
    responses: Sequence[RecallResponse],
    because: Sequence[np.ndarray] | None,
) -> pa.Table:
    """Answers for users.

    Args:
        user_ids: One per answer.
        responses: The answers.
        because: For each answer the raw id of the clicked item nearest to each of its
            items, `[n]` bytes, "" for none; None leaves the field out.
    """
    columns = {
        "item_id": _texts([r.item_ids for r in responses]),
        "score": _numbers([r.scores for r in responses], np.float32),
        "interest": _numbers([r.interests for r in responses], np.int32),
    }
    if because is not None:
        columns["because"] = _texts(because, empty_is_null=True)
    schema = recommendations_schema(with_reasons=because is not None)
    lists = _lists(columns, [len(r.scores) for r in responses], schema.field(1).type)
    facts = [
        _column(responses, "is_fallback", np.bool_),
        _column(responses, "num_known", np.int32),
        _column(responses, "num_unknown", np.int32),
    ]
    return pa.table([user_ids, lists, *facts], schema=schema)


def similar_table(item_ids: pa.Array, responses: Sequence[RecallResponse]) -> pa.Table:
    """Answers for items."""
    columns = {
        "item_id": _texts([r.item_ids for r in responses]),
        "score": _numbers([r.scores for r in responses], np.float32),
    }
    sizes = [len(r.scores) for r in responses]
    lists = _lists(columns, sizes, SIMILAR_SCHEMA.field(1).type)
    return pa.table([item_ids, lists], schema=SIMILAR_SCHEMA)


def user_vectors_table(user_ids: pa.Array, answer: UserVectors) -> pa.Table:
    """Vectors of users."""
    _, num_interests, dim = answer.user_vectors.shape
    vectors = _fixed_lists(_fixed_lists(_flat(answer.user_vectors), dim), num_interests)
    weights = _fixed_lists(_flat(answer.interest_weights), num_interests)
    counts = (pa.array(n.astype(np.int32)) for n in (answer.num_known, answer.num_unknown))
    schema = user_vectors_schema(num_interests, dim)
    return pa.table([user_ids, vectors, weights, *counts], schema=schema)


def item_vectors_table(item_ids: pa.Array, vectors: np.ndarray) -> pa.Table:
    """Vectors of items, `[n, dim]` float32."""
    dim = vectors.shape[1]
    return pa.table([item_ids, _fixed_lists(_flat(vectors), dim)], schema=item_vectors_schema(dim))


def _column(responses: Sequence[RecallResponse], name: str, dtype: type) -> pa.Array:
    return pa.array(np.array([getattr(response, name) for response in responses], dtype))


def _texts(parts: Sequence[np.ndarray], *, empty_is_null: bool = False) -> pa.Array:
    """Bytes of fixed width, UTF-8, as one array of texts."""
    values = np.concatenate([np.empty(0, "S1"), *parts])
    mask = values == b"" if empty_is_null else None
    return pa.array(values, pa.binary(), mask=mask).cast(pa.string())


def _numbers(parts: Sequence[np.ndarray], dtype: type) -> pa.Array:
    return pa.array(np.concatenate([np.empty(0, dtype), *parts]).astype(dtype, copy=False))


def _lists(columns: dict[str, pa.Array], sizes: Sequence[int], kind: pa.DataType) -> pa.Array:
    """Columns of all answers -> one list of items per answer."""
    items = pa.StructArray.from_arrays(list(columns.values()), fields=list(kind.value_type))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), items).cast(kind)


def _flat(values: np.ndarray) -> pa.Array:
    return pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))


def _fixed_lists(values: pa.Array, size: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(values, size)
