"""Expected values by hand, or from loops over Python lists."""

import numpy as np
import pytest

from pipelines.ingestion.events import ordering


class TestOrder:
    def _expected(self, users, times, rows):
        return sorted(range(len(users)), key=lambda at: (users[at], times[at], rows[at]))

    def test_by_user_then_time_then_row(self):
        users, times, rows = [1, 0, 1, 0, 1], [2.0, 1.0, 1.0, 1.0, 1.0], [0, 4, 2, 3, 1]
        order = ordering.order_events(np.array(users), np.array(times), np.array(rows))
        assert order.tolist() == [3, 1, 4, 2, 0]

    @pytest.mark.parametrize("num_users", [9, 100_000])  # 100,000: more than 16 bits
    @pytest.mark.parametrize("shuffled", [False, True])
    def test_random_logs(self, num_users, shuffled):
        rng = np.random.default_rng(5)
        users, times = rng.integers(0, num_users, 300), rng.integers(0, 4, 300).astype(float)
        rows = rng.permutation(300) if shuffled else np.arange(300)
        order = ordering.order_events(users, times, rows)
        assert order.tolist() == self._expected(users, times, rows)

    def test_a_log_in_the_order_of_time(self):
        users, times = np.array([3, 1, 3, 1, 0]), np.array([1.0, 1.0, 2.0, 3.0, 4.0])
        assert ordering.order_events(users, times, np.arange(5)).tolist() == [4, 1, 3, 0, 2]

    @pytest.mark.parametrize("most", [1 << 8, 1 << 16, 1 << 40])
    def test_codes_of_any_size(self, most):
        codes = np.random.default_rng(1).integers(0, most, 500)
        codes[::7] = codes[0]
        expected = np.argsort(codes, kind="stable").tolist()
        assert ordering.order_by_code(codes).tolist() == expected


class TestDuplicates:
    def test_marks_all_but_the_first_even_when_not_adjacent(self):
        # One user: items 0 1 0 0 at time 1, 0 at time 2; another user: 0 at time 2.
        items, times = np.array([0, 1, 0, 0, 0, 0]), np.array([1.0, 1, 1, 1, 2, 2])
        found = ordering.find_duplicates(np.array([0, 5, 6]), items, times)
        assert found.tolist() == [False, False, True, True, False, False]

    def test_random_logs(self):
        rng = np.random.default_rng(7)
        offsets = np.array([0, 40, 41, 120, 200])
        items = rng.integers(0, 4, 200)
        times = np.concatenate([np.sort(rng.integers(0, 9, n)) for n in np.diff(offsets)])
        seen, expected = set(), []
        for at in range(200):
            user = np.searchsorted(offsets, at, side="right")
            key = (user, items[at], times[at])
            expected.append(key in seen)
            seen.add(key)
        found = ordering.find_duplicates(offsets, items, times.astype(float))
        assert found.tolist() == expected
        assert any(expected)

    def test_empty_log(self):
        empty = np.array([])
        assert ordering.find_duplicates(np.array([0]), empty, empty).tolist() == []

    def test_events_of_different_kinds_are_no_duplicates(self):
        items, times = np.array([0, 0, 0]), np.array([1.0, 1.0, 1.0])
        kinds = np.array([1, 2, 1], np.int8)
        found = ordering.find_duplicates(np.array([0, 3]), items, times, kinds)
        assert found.tolist() == [False, False, True]
