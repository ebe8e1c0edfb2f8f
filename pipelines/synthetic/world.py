"""The planted world of a synthetic log: its items, and blocks of users' clicks.

Pure functions of a config and a random generator; no files.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipelines.synthetic.config import SyntheticConfig

MARK, PLACE = "mark", "place"
"""Names of columns that a log may have."""
PLACES = ("home", "work", "train", "shop")

_REDRAWS = 6
"""Attempts to replace an item that its user has clicked before."""

_START_S = 1_704_067_200
"""2024-01-01 00:00 UTC; users begin within the half year after it."""

_START_RANGE_S = 180 * 24 * 3600
_GAP_WITHIN_RUN_S = 60.0
_GAP_BETWEEN_RUNS_S = 24 * 3600.0


class World:
    """Which item belongs to which interest, and how likely it is clicked there.

    Preference and exposure are apart: an item is clicked in proportion to how much it is
    preferred within its interest, times its propensity to be shown.

    Attributes:
        interest_of: `[num_items]` int64, interest of each item.
        items: `[num_items]` int64, the items sorted by interest, then popularity.
        starts: `[num_interests + 1]` int64, where each interest begins in `items`.
        preferred: `[num_items]` float64, interest + share of its clicks that would go to
            the item or a more popular one if all were shown; ascending over `items`.
        cumulative: The same of the clicks that there are.
        propensity: `[num_items]` float64 in (0, 1], of each item to be shown.
    """

    def __init__(self, config: SyntheticConfig):
        rng = np.random.default_rng([config.seed, 0])
        shuffled = rng.permutation(config.num_items)
        interests = np.arange(config.num_items) % config.num_interests
        self.interest_of = np.empty(config.num_items, np.int64)
        self.interest_of[shuffled] = interests
        self.items = shuffled[np.argsort(interests, kind="stable")]
        sizes = np.bincount(interests, minlength=config.num_interests)
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        rank = np.arange(config.num_items) - np.repeat(self.starts[:-1], sizes)
        weights = (rank + 1.0) ** -config.popularity_skew
        self.propensity = _draw_propensity(config)
        self.preferred = self._accumulate(weights)
        self.cumulative = self.preferred
        if config.exposure_skew > 0:
            self.cumulative = self._accumulate(weights * self.propensity[self.items])
        self._shown = np.cumsum(self.propensity) / self.propensity.sum()

    def _accumulate(self, weights: np.ndarray) -> np.ndarray:
        """`[num_items]` weights in the order of `items` -> interest + running share within it."""
        sizes = np.diff(self.starts)
        totals = np.add.reduceat(weights, self.starts[:-1])
        running = np.cumsum(weights) - np.repeat(np.cumsum(totals) - totals, sizes)
        return np.repeat(np.arange(len(sizes)), sizes) + running / np.repeat(totals, sizes)

    def draw(
        self, rng: np.random.Generator, interests: np.ndarray, is_unbiased: np.ndarray
    ) -> np.ndarray:
        """Items of `[n]` interests, by their popularity within the interest.

        Args:
            rng: Of the draw.
            interests: `[n]` int.
            is_unbiased: `[n]` bool, True where exposure does not count.

        Returns:
            `[n]` int items.
        """
        wanted = interests + rng.random(len(interests))
        places = np.searchsorted(self.cumulative, wanted)
        if is_unbiased.any():
            places = np.where(is_unbiased, np.searchsorted(self.preferred, wanted), places)
        return self.items[np.minimum(places, self.starts[interests + 1] - 1)]

    def draw_anywhere(self, rng: np.random.Generator, is_unbiased: np.ndarray) -> np.ndarray:
        """`[n]` items of the whole catalogue, as they are shown, or all alike where unbiased."""
        if self.cumulative is self.preferred:
            return rng.integers(0, len(self.items), len(is_unbiased))
        shares = rng.random(len(is_unbiased))
        shown = np.minimum(np.searchsorted(self._shown, shares), len(self.items) - 1)
        return np.where(is_unbiased, (shares * len(self.items)).astype(np.int64), shown)


def _draw_propensity(config: SyntheticConfig) -> np.ndarray:
    """`[num_items]`, in an order that has nothing to do with what users prefer."""
    rank = np.random.default_rng([config.seed, 2]).permutation(config.num_items)
    return (rank + 1.0) ** -config.exposure_skew


class UserBlock(NamedTuple):
    """Events of some users, and what was planted.

    Attributes:
        users: `[num_events]` user numbers, ascending.
        items: `[num_events]`.
        timestamps_s: `[num_events]`, growing within a user.
        planted: Of the users.
        columns: Name -> `[num_events]` texts, where the log has more columns.
    """

    users: np.ndarray
    items: np.ndarray
    timestamps_s: np.ndarray
    planted: "PlantedUsers"
    columns: Mapping[str, np.ndarray]


class PlantedUsers(NamedTuple):
    """The interests of some users.

    Attributes:
        interests: `[num_users, interests_per_user]`, those a user begins with.
        later_interests: The same, those from `turns` on; equal where a user does not turn.
        turns: `[num_users]` events of the user before that.
    """

    interests: np.ndarray
    later_interests: np.ndarray
    turns: np.ndarray


def generate_block(
    config: SyntheticConfig, world: World, rng: np.random.Generator, num_users: int
) -> UserBlock:
    """Events of `num_users` users, numbered from 0."""
    extra = rng.exponential(config.events_per_user - config.min_events_per_user, num_users)
    lengths = config.min_events_per_user + np.floor(extra + rng.random(num_users)).astype(np.int64)
    users = np.repeat(np.arange(num_users), lengths)
    first_of_user = np.cumsum(lengths) - lengths
    is_first = np.zeros(len(users), bool)
    is_first[first_of_user] = True
    is_new_run = is_first | (rng.random(len(users)) < 1 / config.run_length)
    run_of = np.cumsum(is_new_run) - 1
    is_late = np.arange(len(users)) - first_of_user[users] >= lengths[users] // 2
    own, later, run_interests = _draw_run_interests(
        config, rng, users[is_new_run], is_late[is_new_run], num_users
    )
    is_noise = rng.random(len(users)) < config.noise_rate
    left = np.cumsum(lengths)[users] - np.arange(len(users))
    is_unbiased = left <= config.unbiased_events
    items = _draw_items(config, world, rng, users, run_interests[run_of], is_noise, is_unbiased)
    gaps_s = rng.exponential(np.where(is_new_run, _GAP_BETWEEN_RUNS_S, _GAP_WITHIN_RUN_S))
    elapsed_s = np.cumsum(gaps_s.astype(np.int64) + 1)
    begin_s = _START_S + rng.integers(0, _START_RANGE_S, num_users)
    timestamps_s = begin_s[users] + elapsed_s - elapsed_s[is_first][users]
    kept = items >= 0
    turns = np.bincount(users[kept & ~is_late[first_of_run(is_new_run)]], minlength=num_users)
    # Drawn last: logs without these columns stay what they were.
    columns = _draw_columns(config, rng, users, is_new_run, run_interests[run_of])
    return UserBlock(
        users[kept],
        items[kept],
        timestamps_s[kept],
        PlantedUsers(own, later, turns),
        {name: values[kept] for name, values in columns.items()},
    )


def _draw_columns(
    config: SyntheticConfig,
    rng: np.random.Generator,
    users: np.ndarray,
    is_new_run: np.ndarray,
    interests: np.ndarray,
) -> dict[str, np.ndarray]:
    """Columns that tell something of what comes: of the next click, of the click itself."""
    columns = {}
    if config.mark_rate:
        is_last = np.append(users[1:] != users[:-1], True)
        leaves = np.append(is_new_run[1:], False) & ~is_last
        is_random = rng.random(len(users)) >= config.mark_rate
        leaves = np.where(is_random, rng.random(len(users)) < 1 / config.run_length, leaves)
        columns[MARK] = np.where(leaves, "leaves", "stays")
    if config.place_rate:
        is_random = rng.random(len(users)) >= config.place_rate
        anywhere = rng.integers(0, len(PLACES), len(users))
        columns[PLACE] = np.array(PLACES)[np.where(is_random, anywhere, interests % len(PLACES))]
    return columns


def first_of_run(is_new_run: np.ndarray) -> np.ndarray:
    """`[num_events]`, the event that began the run of each.

    >>> first_of_run(np.array([True, False, True, False, False]))
    array([0, 0, 2, 2, 2])
    """
    return np.flatnonzero(is_new_run)[np.cumsum(is_new_run) - 1]


def _draw_run_interests(
    config: SyntheticConfig,
    rng: np.random.Generator,
    run_users: np.ndarray,
    run_is_late: np.ndarray,
    num_users: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interests of the users, their later ones, and `[num_runs]`: one of them, or unrelated."""
    own = _draw_distinct(rng, num_users, config.interests_per_user, config.num_interests)
    choice = rng.integers(0, config.interests_per_user, len(run_users))
    unrelated = rng.integers(0, config.num_interests, len(run_users))
    is_unrelated = rng.random(len(run_users)) < config.unrelated_future_rate
    # Drawn only where they are asked for: other logs stay what they were.
    if config.dominance_rate:
        choice[rng.random(len(run_users)) < config.dominance_rate] = 0
    if config.turn_rate:
        first = np.searchsorted(run_users, run_users)  # Runs of a user stand together.
        in_turn = (np.arange(len(run_users)) - first) % config.interests_per_user
        choice = np.where(rng.random(len(run_users)) < config.turn_rate, in_turn, choice)
    later = own
    if config.drift_rate:
        others = _draw_distinct(rng, num_users, config.interests_per_user, config.num_interests)
        drifts = rng.random(num_users) < config.drift_rate
        later = np.where(drifts[:, None], others, own)
    related = np.where(run_is_late, later[run_users, choice], own[run_users, choice])
    return own, later, np.where(is_unrelated, unrelated, related)


def _draw_distinct(rng: np.random.Generator, rows: int, count: int, limit: int) -> np.ndarray:
    """`[rows, count]` int64, distinct numbers below `limit` in each row (Floyd's method)."""
    drawn = np.empty((rows, count), np.int64)
    for column, top in enumerate(range(limit - count, limit)):
        candidates = rng.integers(0, top + 1, rows)
        taken = (drawn[:, :column] == candidates[:, None]).any(axis=1)
        drawn[:, column] = np.where(taken, top, candidates)
    return drawn


def _draw_items(
    config: SyntheticConfig,
    world: World,
    rng: np.random.Generator,
    users: np.ndarray,
    interests: np.ndarray,
    is_noise: np.ndarray,
    is_unbiased: np.ndarray,
) -> np.ndarray:
    """`[n]` items, none twice for a user; -1 where no new one was found."""
    items = np.empty(len(users), np.int64)
    redrawn = np.arange(len(users))
    for _ in range(_REDRAWS):
        anywhere = world.draw_anywhere(rng, is_unbiased[redrawn])
        planted = world.draw(rng, interests[redrawn], is_unbiased[redrawn])
        items[redrawn] = np.where(is_noise[redrawn], anywhere, planted)
        redrawn = _find_repeats(users, items, config.num_items)
        if len(redrawn) == 0:
            break
    items[redrawn] = -1
    return items


def _find_repeats(users: np.ndarray, items: np.ndarray, num_items: int) -> np.ndarray:
    """Places whose (user, item) occurs before."""
    order = np.argsort(users * num_items + items, kind="stable")
    same = (np.diff(users[order]) == 0) & (np.diff(items[order]) == 0)
    return np.sort(order[1:][same])
