"""Batches of histories, and columns read at the speed of arrays."""

from collections import Counter

import numpy as np
import pyarrow as pa

from pipelines.inference import answers
from pipelines.inference.histories import HISTORIES_SCHEMA
from pipelines.inference.value_counts import BatchValues
from serving.retrieval.user_vectors import UserVectors


def test_batches_hold_every_position_once_and_few_ids():
    lengths = np.random.default_rng(0).geometric(0.01, 5000).tolist()
    batches = list(answers.batches_by_length(lengths))
    assert sorted(np.concatenate(batches).tolist()) == list(range(5000))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= 512
    padded = [len(batch) * max(lengths[i] for i in batch) for batch in batches]
    assert max(padded) <= 1 << 16
    assert sum(padded) < 1.3 * sum(lengths)
    assert list(answers.batches_by_length([])) == []


class SumTower:
    """A tower whose vector is the number of ids, so that rows cannot be mixed up."""

    def compute(self, histories):
        numbers = np.array([len(history) for history in histories])
        vectors = np.repeat(numbers.astype(np.float32), 6).reshape(-1, 2, 3)
        weights = np.full((len(numbers), 2), 0.5, np.float32)
        return UserVectors(vectors, weights, numbers, 0 * numbers, "f", 1)


class Opened:
    source = SumTower()
    values = BatchValues({})


def test_rows_stay_in_their_order_though_batches_are_by_length():
    lengths = np.random.default_rng(1).integers(0, 900, 700).tolist()
    table = pa.table(
        {
            "user_id": [f"u{n}" for n in range(700)],
            "history": [[f"i{n}"] * length for n, length in enumerate(lengths)],
        },
        schema=HISTORIES_SCHEMA,
    )
    counts = Counter()
    made = list(answers.EmbedUsers(skip_unknown=True).answer_all(table, Opened(), counts))
    found = pa.concat_tables(made)
    known = [n for n, length in enumerate(lengths) if length]
    assert found["user_id"].to_pylist() == [f"u{n}" for n in known]
    assert [v[1][2] for v in found["user_vectors"].to_pylist()] == [lengths[n] for n in known]
    assert counts["rows"] == counts["answered"] == 700
    assert counts["fallback"] == 700 - len(known)
