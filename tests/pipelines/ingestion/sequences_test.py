"""Expected values by hand, or from loops over Python lists."""

import binascii

import numpy as np
import pyarrow as pa
import pytest

from pipelines.ingestion import sequences
from pipelines.ingestion.sequences import Part
from recall.errors import InputError

TRAIN, VALID, TEST, CONTEXT = Part


def _log(rows, **columns):
    """An events table from (user, item, timestamp) tuples; row = position."""
    users, items, timestamps = zip(*rows, strict=True)
    return pa.table(
        {
            "user_id": users,
            "item_id": items,
            "timestamp": np.asarray(timestamps, float),
            "row": np.arange(len(rows)),
            **columns,
        }
    )


class TestUserShards:
    def test_is_the_crc32_of_the_utf8_bytes(self):
        users = ["7", "8", "", "Zoë", "7"]
        expected = [binascii.crc32(user.encode()) % 5 for user in users]
        assert sequences.user_shards(pa.array(users), 5).tolist() == expected

    def test_known_values_never_change(self):
        # The check value of CRC-32 is 0xCBF43926 for "123456789".
        assert sequences.user_shards(pa.array(["123456789"]), 1 << 32).tolist() == [0xCBF43926]

    def test_spreads_consecutive_ids(self):
        shards = sequences.user_shards(pa.array([str(i) for i in range(8000)]), 8)
        assert np.bincount(shards, minlength=8).min() > 900

    def test_partition_keeps_every_row_once_in_order(self):
        rng = np.random.default_rng(3)
        users = [str(u) for u in rng.integers(0, 40, 300)]
        batch = _log([(u, "i", 0) for u in users]).to_batches()[0]
        pieces = dict(sequences.partition_by_user(batch, 7))
        for shard, piece in pieces.items():
            expected = [
                row for row, u in enumerate(users) if binascii.crc32(u.encode()) % 7 == shard
            ]
            assert piece["row"].to_pylist() == expected
        assert sum(piece.num_rows for piece in pieces.values()) == 300


class TestOrder:
    def test_by_user_text_then_time_then_row(self):
        log = _log([("10", "a", 2), ("9", "b", 1), ("10", "c", 1), ("9", "d", 1), ("10", "e", 1)])
        assert sequences.order_events(log)["item_id"].to_pylist() == ["c", "e", "a", "b", "d"]

    def test_does_not_depend_on_the_order_of_arrival(self):
        rng = np.random.default_rng(5)
        log = _log([(str(u), str(i), i % 3) for i, u in enumerate(rng.integers(0, 9, 200))])
        shuffled = log.take(pa.array(rng.permutation(200)))
        assert sequences.order_events(shuffled).equals(sequences.order_events(log))

    def test_offsets(self):
        log = _log([("a", "x", 1), ("a", "y", 2), ("b", "x", 1), ("c", "x", 1), ("c", "x", 2)])
        assert sequences.user_offsets(log).tolist() == [0, 2, 3, 5]
        assert sequences.user_offsets(log.slice(0, 0)).tolist() == [0]


class TestDuplicates:
    def test_marks_all_but_the_first_even_when_not_adjacent(self):
        log = _log(
            [
                ("u", "a", 1),
                ("u", "b", 1),
                ("u", "a", 1),
                ("u", "a", 1),
                ("u", "a", 2),
                ("v", "a", 1),
            ]
        )
        assert sequences.find_duplicates(log).tolist() == [False, False, True, True, False, False]

    def test_empty_log(self):
        assert sequences.find_duplicates(_log([("u", "a", 1)]).slice(0, 0)).tolist() == []


def test_count_items_with_weights():
    counts = sequences.count_items(pa.chunked_array([["b", "a", "b"]]), np.array([1, 0, 1]))
    assert counts.to_pydict() == {"item_id": ["a", "b"], "count": [0, 2]}


def test_sum_counts_adds_shards():
    tables = [sequences.count_items(pa.chunked_array([ids])) for ids in (["a", "b"], ["b"])]
    assert sequences.sum_counts(tables).to_pydict() == {"item_id": ["a", "b"], "count": [1, 2]}


def test_long_enough():
    kept = sequences.long_enough(np.array([0, 1, 3, 6]), 2)
    assert kept.tolist() == [False, True, True, True, True, True]


class TestHoldOutLast:
    def test_next_two(self):
        # Users of 4 (too short for 2 + 2 targets and a history), 5 and 7 events.
        parts = sequences.hold_out_last(np.array([0, 4, 9, 16]), 2)
        assert parts[:4].tolist() == [TRAIN] * 4
        assert parts[4:9].tolist() == [TRAIN, VALID, VALID, TEST, TEST]
        assert parts[9:].tolist() == [TRAIN] * 3 + [VALID] * 2 + [TEST] * 2

    def test_no_users(self):
        assert sequences.hold_out_last(np.array([0]), 1).tolist() == []


class TestParseParts:
    def test_labels(self):
        log = _log([("u", "a", 1)] * 4, split=["train", "context", "test", "valid"])
        assert sequences.parse_parts(log).tolist() == [TRAIN, CONTEXT, TEST, VALID]

    @pytest.mark.parametrize("value", ["Train", "", None])
    def test_refuses_other_values_naming_the_row(self, value):
        log = _log([("u", "a", 1)] * 2, split=["train", value])
        with pytest.raises(InputError, match=rf"Row 1 .*{value!r}.*train, valid, test, context"):
            sequences.parse_parts(log)


class TestHoldOutMarked:
    def test_history_is_everything_before_the_first_target(self):
        parts = np.array([TRAIN, CONTEXT, VALID, TEST, TRAIN, TEST, TRAIN, TEST], np.int8)
        held_out = sequences.hold_out_marked(np.array([0, 6, 8]), parts, TEST)
        assert held_out.users.tolist() == [0, 1]
        assert held_out.histories.starts.tolist() == [0, 6]
        assert held_out.histories.stops.tolist() == [3, 7]
        assert held_out.positives.tolist() == [3, 5, 7]
        assert held_out.positive_offsets.tolist() == [0, 2, 3]

    def test_a_user_without_history_is_left_out(self):
        parts = np.array([TEST, TRAIN, TEST, TRAIN, TEST], np.int8)
        held_out = sequences.hold_out_marked(np.array([0, 3, 5]), parts, TEST)
        assert held_out.users.tolist() == [1]
        assert held_out.positives.tolist() == [4]

    def test_no_targets(self):
        held_out = sequences.hold_out_marked(np.array([0, 2]), np.zeros(2, np.int8), VALID)
        assert held_out.users.tolist() == []
        assert held_out.positive_offsets.tolist() == [0]


def test_training_offsets():
    parts = np.array([TRAIN, TRAIN, TEST, CONTEXT, TRAIN, VALID], np.int8)
    assert sequences.training_offsets(np.array([0, 3, 4, 6]), parts).tolist() == [0, 2, 2, 3]
