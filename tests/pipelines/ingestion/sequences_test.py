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


def test_filter_drops_events_and_users_without_any():
    log = sequences.Sequences(
        pa.array(["a", "b", "c"]),
        np.array([0, 2, 3, 5]),
        np.array([4, 5, 6, 7, 8], np.int32),
        np.arange(5.0),
        np.arange(5),
        np.zeros(5, np.int8),
    )
    kept = log.filter(np.array([True, False, False, True, True]))
    assert kept.user_ids.to_pylist() == ["a", "c"]
    assert kept.offsets.tolist() == [0, 1, 3]
    assert kept.items.tolist() == [4, 7, 8]
    assert kept.rows.tolist() == [0, 3, 4]
    assert kept.owners.tolist() == [0, 1, 1]
    nothing = log.filter(np.zeros(5, bool))
    assert (len(nothing.user_ids), nothing.offsets.tolist()) == (0, [0])


def test_count_items():
    assert sequences.count_items(np.array([2, 0, 2]), 4).tolist() == [1, 0, 2, 0]


def test_days_of_times_before_and_after_the_epoch_of_logs():
    day_s = 86_400
    times = np.array([20_000 * day_s, 5.0, 19_999 * day_s + 1, 20_000 * day_s + 9, 1e12])
    assert sequences.count_days(times.astype(float)) == [[19_999, 1], [20_000, 2]]


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
