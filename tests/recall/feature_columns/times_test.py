"""Parts of times, by Python's own calendar."""

from datetime import datetime, timezone

import numpy as np
import tensorflow as tf

from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.encoder import FeatureEncoder
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.times import pair_with_before, rows_of_times

TIMES = [1, 3599, 3600, 86_399, 86_400, 951_782_400, 1_704_445_261, 4_102_444_799]


def test_hours_and_weekdays_are_those_of_the_calendar():
    pairs = tf.constant([[time, 0] for time in TIMES], tf.int64)
    found = rows_of_times(("weekday", "hour"), pairs).numpy()
    wanted = [datetime.fromtimestamp(time, timezone.utc) for time in TIMES]
    np.testing.assert_array_equal(found[:, 0], [time.weekday() for time in wanted])
    np.testing.assert_array_equal(found[:, 1], [7 + time.hour for time in wanted])


def test_gaps_need_both_times():
    pairs = tf.constant([[100, 100], [101, 100], [104, 100], [100, 0], [0, 100], [0, 0]], tf.int64)
    found = rows_of_times(("hour", "gap"), pairs).numpy()
    # Behind 24 hours: 0 s has no bit, 1 s has one, 4 s have three.
    np.testing.assert_array_equal(found[:, 1], [24 + 1, 24 + 2, 24 + 4, -1, -1, -1])
    np.testing.assert_array_equal(found[:, 0], [0, 0, 0, 0, -1, -1])


def test_rows_without_events_have_no_time_before():
    # Rows 1 and 3 are empty.
    found = pair_with_before(tf.constant([7, 9, 8], tf.int64), tf.constant([0, 2, 2]))
    np.testing.assert_array_equal(found, [[7, 0], [9, 0], [8, 9]])
    assert pair_with_before(tf.zeros([0], tf.int64), tf.zeros([0], tf.int32)).shape == (0, 2)


def test_a_time_is_a_slot_for_each_of_its_parts():
    column = FeatureColumn("when", "event", "timestamp")
    device = FittedColumn(FeatureColumn("device", "event", "categorical"), ("tv",))
    encoder = FeatureEncoder([device, FittedColumn(column)])
    assert encoder.num_rows == 1 + 2 + 33 + 24 + 7
    assert set(encoder.input_specs()) == {"device"}
    friday_9_am = 1_704_445_261
    encoded, num_known, _, _ = encoder(
        {
            "device": tf.constant(["tv", ""]),
            "when": tf.constant([[friday_9_am, friday_9_am - 2], [0, 5]], tf.int64),
        }
    )
    np.testing.assert_array_equal(encoded.slots, [[2, 3 + 3, 3 + 33 + 9, 3 + 57 + 4], [0] * 4])
    assert num_known.numpy().tolist() == [4, 0]


def test_numbers_of_names_are_as_the_names():
    device = FittedColumn(FeatureColumn("device", "event", "categorical"), ("tv", "phone"))
    names = FeatureEncoder([device])({"device": tf.constant(["", "car", "tv", "phone"])})
    numbers = FeatureEncoder([device], reads_names=False)({"device": tf.constant([0, 1, 2, 3])})
    for one, other in zip(tf.nest.flatten(names), tf.nest.flatten(numbers), strict=True):
        np.testing.assert_array_equal(one, other)
    assert numbers.encoded.slots.numpy().tolist() == [[0], [1], [2], [3]]
