"""Expected values by hand, or from loops over Python lists."""

from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pytest

from pipelines.ingestion import split_report, splits
from pipelines.ingestion.sequences import Part
from pipelines.ingestion.splits import Clock
from recall.errors import InputError
from recall.settings.ingest import IngestConfig

TRAIN, VALID, TEST, CONTEXT = Part
NOON = 1_700_049_600.0  # 2023-11-15T12:00:00 UTC, 472,236 hours after 1970 began.
HOUR, DAY = 3600.0, 86_400.0


def temporal(**values):
    return IngestConfig(protocol="temporal", **values)


def choose(hours, **values):
    """The clock of a log with so many events in the hours after noon."""
    pairs = [[472_236 + hour, events] for hour, events in hours.items()]
    facts = [{"hours": pairs[::2], "without_time": 0}, {"hours": pairs[1::2], "without_time": 0}]
    clock = splits.choose_clock("log", temporal(**values), facts)
    return [(clock.valid_from - NOON) / HOUR, (clock.test_from - NOON) / HOUR]


def parts_by_loop(users, clock, num_targets):
    """The split of users, each a list of times, one event after the other."""
    parts = []
    for times in users:
        counts = {VALID: 0, TEST: 0}
        for number, time in enumerate(times):
            if time < clock.valid_from - clock.embargo_s:
                part = TRAIN
            elif time < clock.valid_from:
                part = CONTEXT
            elif time < clock.test_from - clock.embargo_s:
                part = VALID
            elif time < clock.test_from:
                part = CONTEXT
            else:
                part = TEST
            if part in counts:
                if number == 0 or counts[part] == num_targets:
                    part = CONTEXT
                else:
                    counts[part] += 1
            parts.append(part)
    return parts


class TestClock:
    def test_hours_of_a_log(self):
        times = np.array([NOON + 3599, NOON, NOON + 2 * HOUR, NOON - 1])
        facts = splits.count_hours(times)
        assert facts["hours"] == [[472_235, 1], [472_236, 2], [472_238, 1]]
        assert facts["without_time"] == 0

    def test_numbers_that_only_give_an_order_are_counted(self):
        assert splits.count_hours(np.array([1.0, 2.0])) == {"hours": [], "without_time": 2}

    def test_by_date_in_utc(self):
        config = temporal(valid_from="2023-11-15T13:00:00+01:00", test_from="2023-11-16")
        clock = splits.choose_clock("log", config, [{"hours": [], "without_time": 0}])
        assert clock == Clock(NOON, NOON + 12 * HOUR, 0.0)

    def test_by_share_of_the_events(self):
        # From hour 8 on there are 10 of 100 events, from hour 6 on 20.
        hours = dict.fromkeys(range(6), 80 / 5) | {5: 0, 6: 6, 7: 4, 8: 10}
        hours = {hour: int(events) for hour, events in hours.items() if events}
        assert sum(hours.values()) == 100
        assert choose(hours) == [6, 8]
        assert choose(hours, test_share=0.2, valid_share=0.16) == [4, 6]

    def test_the_nearest_hour_is_taken(self):
        # 13 from hour 3 on is nearer to 10 than 3 from hour 4 on; 33 nearer to 20 than 53.
        assert choose({0: 47, 1: 20, 2: 20, 3: 10, 4: 3}) == [2, 3]

    def test_every_part_has_an_hour(self):
        assert choose({0: 1, 1: 1, 2: 98}) == [1, 2]
        assert choose({0: 98, 1: 1, 2: 1}) == [1, 2]

    def test_too_few_hours(self):
        with pytest.raises(InputError, match=r"in 2 hours only.* ingest\.valid_from"):
            choose({0: 50, 1: 50})

    def test_a_log_without_times_has_no_clock(self):
        facts = [splits.count_hours(np.array([1.0, NOON]))]
        with pytest.raises(InputError, match="log has no times: 1 of its timestamps"):
            splits.choose_clock("log", temporal(), facts)


class TestHoldOut:
    def test_next_ones_after_the_clock(self):
        times = np.array([1, 2, 5, 6, 7, 8, 9, 10, 11.0])
        parts = splits.hold_out_after(times, np.array([0, 9]), Clock(5, 9), 2)
        expected = [TRAIN, TRAIN, VALID, VALID, CONTEXT, CONTEXT, TEST, TEST, CONTEXT]
        assert parts.tolist() == expected

    def test_all_after_the_clock(self):
        times = np.array([1, 5, 6, 7, 9, 10, 11.0])
        parts = splits.hold_out_after(times, np.array([0, 7]), Clock(5, 9), None)
        assert parts.tolist() == [TRAIN, VALID, VALID, VALID, TEST, TEST, TEST]

    def test_embargo_is_history_only(self):
        times = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9.0])
        parts = splits.hold_out_after(times, np.array([0, 9]), Clock(5, 9, 2), None)
        expected = [TRAIN, TRAIN, CONTEXT, CONTEXT, VALID, VALID, CONTEXT, CONTEXT, TEST]
        assert parts.tolist() == expected

    def test_who_comes_after_the_clock_is_asked_for_what_follows_the_first_click(self):
        times = np.array([5, 6, 9.0, 9, 10, 20])
        parts = splits.hold_out_after(times, np.array([0, 3, 5, 6]), Clock(5, 9), 5)
        assert parts.tolist() == [CONTEXT, VALID, TEST, CONTEXT, TEST, CONTEXT]

    def test_events_at_the_clock_belong_to_the_later_part(self):
        times = np.array([4.0, 5.0, 5.0, 9.0, 9.0])
        parts = splits.hold_out_after(times, np.array([0, 5]), Clock(5, 9), None)
        assert parts.tolist() == [TRAIN, VALID, VALID, TEST, TEST]

    @pytest.mark.parametrize("num_targets", [1, 3, None])
    @pytest.mark.parametrize("embargo", [0.0, 7.0, 100.0])
    def test_equals_a_loop_on_random_logs_and_leaks_nothing(self, num_targets, embargo):
        rng = np.random.default_rng(4)
        users = [sorted(rng.integers(0, 100, n).astype(float)) for n in rng.integers(0, 9, 60)]
        offsets = np.cumsum([0, *map(len, users)])
        clock = Clock(60.0, 80.0, embargo)
        times = np.concatenate(users)
        parts = splits.hold_out_after(times, offsets, clock, num_targets)
        assert parts.tolist() == parts_by_loop(users, clock, num_targets)
        assert splits.find_leak(times, parts, clock) is None


class TestLeaks:
    @pytest.mark.parametrize(
        ("time", "part"),
        [(4.0, TRAIN), (9.0, TRAIN), (4.0, VALID), (7.5, VALID), (9.0, VALID), (8.0, TEST)],
    )
    def test_an_event_on_the_wrong_side_is_found(self, time, part):
        clock = Clock(5, 9, 2)
        times = np.array([1.0, 6.0, time, 9.5])
        parts = np.array([TRAIN, VALID, part, TEST], np.int8)
        assert splits.find_leak(times, parts, clock) == 2
        parts[2] = CONTEXT
        assert splits.find_leak(times, parts, clock) is None

    def test_it_stops_in_one_line(self):
        row = {"user_id": "u", "item_id": "i", "timestamp": NOON, "row": 6}
        with pytest.raises(InputError) as failure:
            split_report.check_leaks("log.csv", [{}, {"leak": [row]}])
        assert str(failure.value) == (
            "log.csv: the split leaks. Data row 7 (user 'u', item 'i', 2023-11-15T12:00:00) is on "
            "the wrong side of the clock."
        )
        split_report.check_leaks("log.csv", [{}])

    def test_one_event_in_two_parts(self):
        rows = [
            ("u", "a", 1.0, "train"),
            ("u", "a", 1.0, "test"),
            ("u", "a", 2.0, "test"),
            ("u", "b", 1.0, "train"),
            ("u", "b", 1.0, "train"),
            ("v", "a", 1.0, "context"),
            ("v", "c", 3.0, "context"),
            ("v", "c", 3.0, "train"),
        ]
        names = ("user_id", "item_id", "timestamp", "split")
        columns = zip(*rows, strict=True)
        found = splits.find_conflicts(pa.table(dict(zip(names, map(list, columns), strict=True))))
        first = dict(zip(names[:3], rows[0], strict=False))
        assert found == {"events": 1, "first": [{**first, "split_distinct": ["test", "train"]}]}
        with pytest.raises(
            InputError, match=r"1 events in several parts.*'u', item 'a'.*'test' and"
        ):
            split_report.check_conflicts("log", [{}, {"conflicts": found}])
        split_report.check_conflicts("log", [{}])


class TestSessions:
    def test_a_longer_gap_begins_a_session(self):
        times = np.array([0, 10, 20, 31, 31, 100, 5, 6.0])
        cut = splits.cut_sessions(times, np.array([0, 6, 8]), 10)
        assert cut.tolist() == [0, 3, 5, 6, 8]

    def test_users_whose_times_go_on_are_two(self):
        cut = splits.cut_sessions(np.array([1.0, 2.0]), np.array([0, 1, 2]), 10)
        assert cut.tolist() == [0, 1, 2]

    def test_sessions_are_numbered_by_user(self):
        users = pa.array(["a", "b", "a#1"])
        names = splits.name_sessions(users, np.array([0, 4, 5, 6]), np.array([0, 1, 3, 4, 5, 6]))
        assert names.to_pylist() == ["a#1", "a#2", "a#3", "b#1", "a#1#1"]


def test_facts_of_a_shard():
    # Two users: one of training with a test target, one who came later.
    times = np.array([0, 1, 2, 3, 2, 3.0]) * DAY + NOON
    parts = np.array([TRAIN, TRAIN, VALID, TEST, CONTEXT, TEST], np.int8)
    facts = splits.describe(times, np.array([0, 4, 6]), parts)
    assert facts["cold_users"] == {"valid": 0, "test": 1}
    assert facts["events"] == {"train": 2, "valid": 1, "test": 2, "context": 1}
    assert facts["spans"]["train"] == [NOON, NOON + DAY, 1, 1]
    assert facts["spans"]["test"] == [NOON + 3 * DAY, NOON + 3 * DAY, 2, 2]
    later = {"spans": {"train": [NOON - DAY, NOON, 1, 2], "context": [0.0, 0.0, 1, 1]}}
    assert splits.add_spans([facts, later]) == {
        "train": [NOON - DAY, NOON + DAY],
        "valid": [NOON + 2 * DAY, NOON + 2 * DAY],
        "test": [NOON + 3 * DAY, NOON + 3 * DAY],
        "context": [0.0, NOON + 2 * DAY],
    }


def test_positions_have_no_span():
    parts = np.array([TRAIN, TEST], np.int8)
    assert splits.describe(np.array([1.0, 2.0]), np.array([0, 2]), parts)["spans"] == {}


def test_times_are_shown_in_utc():
    assert split_report.show_time(NOON) == "2023-11-15T12:00:00"
    midnight = datetime(2024, 2, 29, tzinfo=timezone.utc).timestamp()
    assert split_report.show_time(midnight) == "2024-02-29"
