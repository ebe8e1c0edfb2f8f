"""Synthetic logs: what is planted is there, the same each time, at any size."""

import dataclasses
import hashlib

import numpy as np
import pyarrow as pa
import pytest

from pipelines.ingestion.open_log import open_events
from pipelines.sources.events import EVENT_SCHEMA
from pipelines.sources.items import ITEM_SCHEMA, read_items
from pipelines.synthetic import source as synthetic
from pipelines.synthetic import table_writer
from pipelines.synthetic.source import (
    SyntheticConfig,
    SyntheticSource,
    generate_events,
    generate_items,
    write_log,
)
from pipelines.synthetic.world import World, generate_block
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn

SMALL = SyntheticConfig(num_users=300, num_items=400, num_interests=8, events_per_user=20)
PURE = dataclasses.replace(SMALL, noise_rate=0.0, unrelated_future_rate=0.0)


def generate(config):
    return pa.Table.from_batches(generate_events(config), schema=EVENT_SCHEMA)


def to_numbers(column):
    """u1, u2, ... or i1, i2, ... -> 0, 1, ..."""
    return np.array([int(text[1:]) - 1 for text in column.to_pylist()])


def interests_by_item(config):
    """`[num_items]` interest numbers, from the category names."""
    names = [synthetic.interest_name(i) for i in range(config.num_interests)]
    items = generate_items(config).to_pylist()
    interest_of = np.full(config.num_items, -1)
    for item in items:
        (category,) = item["categories"]
        interest_of[int(item["item_id"][1:]) - 1] = names.index(category)
    return interest_of


def sequences(config):
    """One array of item numbers per user."""
    table = generate(config)
    users = to_numbers(table["user_id"])
    return np.split(to_numbers(table["item_id"]), np.flatnonzero(np.diff(users)) + 1)


def test_the_log_is_well_formed():
    table = generate(SMALL)
    users, items = to_numbers(table["user_id"]), to_numbers(table["item_id"])
    seconds = table["timestamp"].to_numpy()
    assert table["row"].to_pylist() == list(range(table.num_rows))
    assert set(users) == set(range(300))
    assert (np.diff(users) >= 0).all()
    assert items.min() >= 0
    assert items.max() < 400
    assert (np.diff(seconds)[np.diff(users) == 0] >= 1).all()
    assert (seconds == np.floor(seconds)).all()
    assert len({*zip(users, items, strict=True)}) == table.num_rows  # Nobody clicks twice.
    lengths = np.bincount(users)
    assert lengths.min() >= SMALL.min_events_per_user
    assert lengths.mean() == pytest.approx(20, abs=3 * 15 / np.sqrt(300))  # Spread about 15.
    assert np.median(lengths) < lengths.mean()


def test_the_log_depends_on_the_seed_and_not_on_how_it_is_consumed():
    assert generate(SMALL).equals(generate(SMALL))
    first = next(generate_events(SMALL))
    assert first.equals(generate(SMALL).combine_chunks().to_batches()[0].slice(0, len(first)))
    assert not generate(SMALL).equals(generate(dataclasses.replace(SMALL, seed=2)))


def test_users_come_in_blocks_of_bounded_size(monkeypatch):
    monkeypatch.setattr(synthetic, "_BLOCK_EVENTS", 1000)  # 50 users of 20 events.
    batches = list(generate_events(SMALL))
    assert [len(set(batch["user_id"].to_pylist())) for batch in batches] == [50] * 6
    more = list(generate_events(dataclasses.replace(SMALL, num_users=420)))
    assert more[:6] == batches  # A longer log begins like a shorter one.
    assert len(set(more[-1]["user_id"].to_pylist())) == 20


def test_items_are_shared_out_evenly():
    items = generate_items(SMALL)
    assert items.schema == ITEM_SCHEMA
    assert items.num_rows == 400
    assert np.bincount(interests_by_item(SMALL)).tolist() == [50] * 8
    titles = items["title"].to_pylist()
    assert len(set(titles)) == 400
    assert {"skirts 1", "skirts 50", "lamps 7"} <= set(titles)
    assert synthetic.interest_name(10_000) == "interest 10001"


def test_without_noise_users_stay_in_their_interests():
    interest_of = interests_by_item(PURE)
    counts = [len(set(interest_of[items])) for items in sequences(PURE)]
    assert max(counts) == PURE.interests_per_user
    long = [len(set(interest_of[items])) == 3 for items in sequences(PURE) if len(items) >= 20]
    # 10.5 runs or more: all three interests in 1 - 3 * (2/3) ** 10.5 of the cases.
    assert np.mean(long) > 0.9


def test_runs_have_the_planted_length():
    interest_of = interests_by_item(PURE)
    same = np.concatenate([np.diff(interest_of[items]) == 0 for items in sequences(PURE)])
    # A run goes on with probability 1 - 1/2; a new one has the same interest in 1/3 of the cases.
    assert same.mean() == pytest.approx(1 / 2 + 1 / 2 / 3, abs=0.02)


def test_unrelated_runs_leave_the_users_interests():
    config = dataclasses.replace(PURE, num_users=1000, unrelated_future_rate=0.2)
    interest_of = interests_by_item(config)
    outside = []
    for items in sequences(config):
        if len(items) >= 20:
            counts = np.sort(np.bincount(interest_of[items], minlength=8))
            outside.append(counts[:-3].sum() / len(items))
    # A fifth of the runs is drawn from all 8 interests, 5 of which are not the user's.
    assert np.mean(outside) == pytest.approx(0.2 * 5 / 8, abs=0.02)


def test_noise_is_the_planted_share_of_clicks():
    config = dataclasses.replace(PURE, num_interests=100, interests_per_user=1, noise_rate=0.3)
    interest_of = interests_by_item(config)
    lone = []
    for items in sequences(dataclasses.replace(config, events_per_user=5.0)):
        counts = np.bincount(interest_of[items])
        lone.append(1 - counts.max() / len(items))
    assert np.mean(lone) == pytest.approx(0.3 * 0.99, abs=0.07)


def test_popularity_follows_the_skew():
    config = dataclasses.replace(
        PURE, num_users=20_000, events_per_user=1.0, min_events_per_user=1, popularity_skew=1.0
    )
    titles = generate_items(config)["title"].to_pylist()
    ranks = np.array([int(title.rsplit(" ", 1)[1]) for title in titles])
    shares = np.bincount(ranks[np.concatenate(sequences(config))])[1:] / 20_000
    expected = 1 / np.arange(1, 51) / (1 / np.arange(1, 51)).sum()
    assert np.abs(shares - expected).max() < 4 * np.sqrt(expected[0] / 20_000)
    flat = dataclasses.replace(config, popularity_skew=0.0)
    shares = np.bincount(ranks[np.concatenate(sequences(flat))])[1:] / 20_000
    assert np.abs(shares - 1 / 50).max() < 4 * np.sqrt(1 / 50 / 20_000)


def test_exposure_skews_clicks_by_the_known_propensity_and_not_the_last_ones():
    config = dataclasses.replace(
        PURE,
        num_users=20_000,
        num_items=40,
        num_interests=4,
        interests_per_user=1,
        events_per_user=2.0,
        min_events_per_user=2,
        popularity_skew=0.5,
        exposure_skew=1.0,
        unbiased_events=1,
        seed=3,
    )
    world, (first, last) = World(config), np.array([s for s in sequences(config) if len(s) == 2]).T
    preference = np.empty(40)
    for interest in range(4):
        of_interest = world.items[world.starts[interest] : world.starts[interest + 1]]
        preference[of_interest] = np.arange(1, 11) ** -0.5

    for interest in range(4):
        own = np.flatnonzero(world.interest_of == interest)
        shown = preference[own] * world.propensity[own]
        shown, wanted = shown / shown.sum(), preference[own] / preference[own].sum()
        # The second click is by preference alone, among all items but the first.
        odds = wanted[np.newaxis] * (1 - np.eye(10)) / (1 - wanted[:, np.newaxis])
        for clicks, expected in ((first, shown), (last, shown @ odds)):
            counts = np.bincount(clicks, minlength=40)[own]
            np.testing.assert_allclose(counts / counts.sum(), expected, atol=0.02)
    assert sorted(world.propensity) == pytest.approx(sorted(1 / np.arange(1, 41)))
    ranks = np.argsort(np.argsort(world.propensity))
    assert abs(np.corrcoef(ranks, preference)[0, 1]) < 0.4


def test_noise_is_of_shown_items_where_exposure_counts():
    config = dataclasses.replace(
        SMALL,
        num_users=5000,
        events_per_user=4.0,
        min_events_per_user=4,
        noise_rate=1.0,
        exposure_skew=1.0,
        unbiased_events=2,
    )
    whole = [items for items in sequences(config) if len(items) == 4]
    propensity = World(config).propensity

    biased, unbiased = (
        propensity[np.concatenate([items[part] for items in whole])].mean()
        for part in (slice(0, 2), slice(2, 4))
    )

    assert unbiased == pytest.approx(propensity.mean(), rel=0.15)
    assert biased > 5 * unbiased


def test_a_world_of_noise_has_nothing_to_learn():
    config = dataclasses.replace(SMALL, num_users=2000, noise_rate=1.0)
    interest_of = interests_by_item(config)
    steps = np.concatenate([np.diff(interest_of[items]) == 0 for items in sequences(config)])
    assert steps.mean() == pytest.approx(1 / 8, abs=0.01)
    clicks = np.bincount(np.concatenate(sequences(config)), minlength=400)
    assert clicks.std() / np.sqrt(clicks.mean()) == pytest.approx(1, abs=0.15)  # As Poisson.


def hit_rate_at_10(score, cases):
    hits = 0
    for history, target in cases:
        scores = score(history).astype(float)
        scores[history] = -np.inf
        hits += (scores > scores[target]).sum() < 10
    return hits / len(cases)


def test_interests_of_the_history_beat_bigrams_and_bigrams_beat_popularity():
    config = SyntheticConfig()
    users = sequences(config)
    interest_of = interests_by_item(config)
    popularity = np.zeros(config.num_items)
    bigrams = np.zeros((config.num_items, config.num_items))
    for items in users:
        np.add.at(popularity, items[:-1], 1)
        np.add.at(bigrams, (items[:-2], items[1:-1]), 1)
    within = popularity / np.bincount(interest_of, popularity)[interest_of]
    recency = 0.95 ** np.arange(1000)[::-1]

    def by_interest(history):
        weights = recency[-len(history) :].copy()
        weights[-1] += len(history) / 2  # A run goes on half of the time.
        counts = np.bincount(interest_of[history], weights, minlength=config.num_interests)
        return counts[interest_of] ** 1.5 * within

    cases = [(items[:-1], items[-1]) for items in users]
    by_popularity = hit_rate_at_10(lambda history: popularity, cases)
    by_bigrams = hit_rate_at_10(lambda history: bigrams[history[-1]] + popularity / 1e6, cases)
    by_interests = hit_rate_at_10(by_interest, cases)
    assert by_bigrams > 3 * by_popularity
    assert by_interests > 1.5 * by_bigrams


def test_a_world_may_be_tiny():
    config = SyntheticConfig.from_text("users=3,items=1,interests=1,interests_per_user=1")
    table = generate(config)
    assert table["item_id"].to_pylist() == ["i1"] * 3  # One item, clicked once by each.
    assert generate_items(config)["title"].to_pylist() == ["skirts 1"]


def test_settings_as_text():
    assert SyntheticConfig.from_text("") == SyntheticConfig()
    text = "users=5, items=70,noise=0.25,unrelated_future_rate=0,num_interests=7,seed=3,"
    assert SyntheticConfig.from_text(text) == SyntheticConfig(
        num_users=5,
        num_items=70,
        noise_rate=0.25,
        unrelated_future_rate=0.0,
        num_interests=7,
        seed=3,
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("user=5", ("`user`", "users, items, interests")),
        ("users", ("`users`", "a whole number", "''")),
        ("users=2.5", ("`users`", "a whole number", "'2.5'")),
        ("noise=much", ("`noise`", "a number", "'much'")),
        ("users=1,num_users=2", ("`num_users`", "twice")),
        ("users=0", ("`users`", ">= 1", "0")),
        ("noise=1.5", ("`noise`", "[0, 1]", "1.5")),
        ("noise=nan", ("`noise`", "nan")),
        ("interests=2000", ("`interests`", "<= items")),
        ("interests_per_user=21", ("`interests_per_user`", "<= interests")),
        ("events_per_user=3", ("`events_per_user`", "min_events_per_user")),
        ("events_per_user=inf", ("`events_per_user`", "inf")),
        ("run_length=0.5", ("`run_length`", ">= 1")),
        ("popularity_skew=-1", ("`popularity_skew`", ">= 0")),
        ("exposure_skew=-1", ("`exposure_skew`", ">= 0")),
        ("unbiased_events=5", ("`unbiased_events`", "< min_events_per_user")),
        ("seed=-1", ("`seed`", ">= 0")),
    ],
)
def test_settings_that_are_refused(text, parts):
    with pytest.raises(InputError) as info:
        open_events(f"synthetic:{text}")
    for part in parts:
        assert part in str(info.value)


def test_as_a_source():
    source = open_events("synthetic:users=40,items=60,interests=5,seed=9")
    config = SyntheticConfig(num_users=40, num_items=60, num_interests=5, seed=9)
    assert list(source.read_batches()) == list(generate_events(config))
    assert source.items().equals(generate_items(config))
    assert not source.has_split
    assert source.bad_rows.total == 0
    same = open_events("synthetic:seed=9,items=60,interests=5,num_users=40")
    assert source.fingerprint() == same.fingerprint()
    assert source.fingerprint() != open_events("synthetic:users=40,items=60").fingerprint()
    assert (
        open_events("synthetic").fingerprint() == open_events("synthetic:users=2000").fingerprint()
    )


@pytest.mark.parametrize("suffix", table_writer.SUFFIXES)
def test_written_logs_read_back_equal(tmp_path, suffix):
    events, items = tmp_path / "new" / f"events{suffix}", tmp_path / "new" / f"items{suffix}"
    num_events = write_log(SMALL, events, items)
    table = pa.Table.from_batches(open_events(str(events)).read_batches())
    assert table.combine_chunks().equals(generate(SMALL).combine_chunks())
    assert num_events == table.num_rows
    assert read_items(str(items)).combine_chunks().equals(generate_items(SMALL).combine_chunks())
    before = events.read_bytes(), items.read_bytes()
    write_log(SMALL, events, items)
    assert (events.read_bytes(), items.read_bytes()) == before
    assert sorted(path.name for path in events.parent.iterdir()) == [events.name, items.name]


def test_csv_is_plain(tmp_path):
    write_log(SMALL, tmp_path / "e.csv", tmp_path / "i.csv")
    header, first = (tmp_path / "e.csv").read_text().splitlines()[:2]
    assert header == "user_id,item_id,timestamp"
    user, item, seconds = first.split(",")
    assert user == "u1"
    assert item.startswith("i")
    assert 1_704_067_200 <= int(seconds) < 1_704_067_200 + 181 * 86_400
    assert (tmp_path / "i.csv").read_text().startswith("item_id,category,title\ni1,")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "e.csv.gz"
    path.write_text("old")

    def failing():
        yield pa.record_batch({"a": [1]})
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        table_writer.write_batches(path, failing())
    assert [p.name for p in tmp_path.iterdir()] == ["e.csv.gz"]
    assert path.read_text() == "old"


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="must end with"):
        write_log(SMALL, tmp_path / "events.txt", tmp_path / "items.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot write"):
        write_log(SMALL, tmp_path / "file" / "events.csv", tmp_path / "items.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_first_interest_dominates():
    """Of the clicks without noise .7 and a third of the rest: four fifths."""
    config = dataclasses.replace(PURE, dominance_rate=0.7, events_per_user=40, num_items=4000)
    interest_of, planted = interests_by_item(config), synthetic.planted_users(config)
    own = [
        interest_of[items] == planted.interests[u, 0] for u, items in enumerate(sequences(config))
    ]
    assert np.concatenate(own).mean() == pytest.approx(0.8, abs=0.02)


def test_interests_turn_in_the_middle():
    config = dataclasses.replace(PURE, drift_rate=1.0, num_items=4000)
    interest_of, planted = interests_by_item(config), synthetic.planted_users(config)
    assert (planted.interests != planted.later_interests).any(axis=1).mean() > 0.9
    for user, items in enumerate(sequences(config)):
        turn = planted.turns[user]
        # A run that began before the middle ends after it.
        assert len(items) // 2 - 1 <= turn
        assert set(interest_of[items[:turn]]) <= {*planted.interests[user]}
        assert set(interest_of[items[turn:]]) <= {*planted.later_interests[user]}


def test_nobody_turns_without_drift():
    planted = synthetic.planted_users(PURE)
    assert (planted.interests == planted.later_interests).all()
    assert len(planted.turns) == 300


def test_long_sequences_stay_in_their_interests():
    config = SyntheticConfig.from_text(
        "users=20,items=20000,interests=5,interests_per_user=2,events_per_user=1000,noise=0,"
        "unrelated_future=0,popularity_skew=0"
    )
    found = sequences(config)
    assert np.mean([len(items) for items in found]) > 500
    interest_of, planted = interests_by_item(config), synthetic.planted_users(config)
    for user, items in enumerate(found):
        assert set(interest_of[items]) <= {*planted.interests[user]}


def test_later_settings_leave_earlier_logs_what_they_were():
    """The record of a run says which log it was: a version that plants more must not change it."""
    config = SyntheticConfig()
    assert "dominance" not in config.describe()
    assert "drift_rate=0.5" in dataclasses.replace(config, drift_rate=0.5).describe()
    digest = hashlib.sha256()
    for batch in generate_events(SyntheticConfig(num_users=100)):
        digest.update(str(batch.to_pydict()).encode())
    # Of the version before them.
    assert digest.hexdigest().startswith("7ec1a82034580d7a9b15")


def test_interests_take_turns_after_long_gaps():
    config = dataclasses.replace(PURE, turn_rate=1.0, num_items=4000)
    world = World(config)
    block = generate_block(config, world, np.random.default_rng(3), 50)
    interests, within, between = world.interest_of[block.items], [], []
    for user in range(50):
        of_user = interests[block.users == user]
        gaps = np.diff(block.timestamps_s[block.users == user])
        changes = of_user[1:] != of_user[:-1]
        within, between = [*within, *gaps[~changes]], [*between, *gaps[changes]]
        places = [block.planted.interests[user].tolist().index(one) for one in of_user]
        steps = np.diff(places)[changes] % config.interests_per_user
        assert set(steps) <= {1}
    assert 100 * np.mean(within) < np.mean(between)


def test_columns_that_tell_what_comes():
    config = dataclasses.replace(PURE, num_users=400, mark_rate=0.8, place_rate=0.9, run_length=3)
    table = pa.Table.from_batches(generate_events(config))
    plain = pa.Table.from_batches(
        generate_events(dataclasses.replace(PURE, num_users=400, run_length=3))
    )
    assert table.select(plain.column_names) == plain  # The rest of the log stays.
    interest_of = interests_by_item(config)
    users, items = (to_numbers(table[name]) for name in ("user_id", "item_id"))
    interests, marks = interest_of[items], np.array(table["mark"].to_pylist())
    is_followed = users[1:] == users[:-1]
    leaves = (interests[1:] != interests[:-1])[is_followed]
    says = (marks[:-1] == "leaves")[is_followed]
    # Of eight in ten it is the truth; of the others a third says that she leaves.
    assert says[leaves].mean() > 0.8
    assert says[~leaves].mean() < 0.25
    places = np.array(["home", "work", "train", "shop"])[interests % 4]
    share = (np.array(table["place"].to_pylist()) == places).mean()
    assert abs(share - (0.9 + 0.1 / 4)) < 0.02


def test_a_log_without_a_column_has_no_feature_of_it(tmp_path):
    mark = FeatureColumn("mark", "event", "categorical")
    source = SyntheticSource("synthetic:users=20,mark=1").with_features([mark])
    (batch,) = source.read_batches()
    assert set(batch["feature:mark"].to_pylist()) == {"stays", "leaves"}
    with pytest.raises(InputError, match="has no column 'mark' for the feature 'mark'"):
        SyntheticSource("synthetic:users=20,place=1").with_features([mark])
    write_log(source.config, tmp_path / "events.csv", tmp_path / "items.csv")
    header = (tmp_path / "events.csv").read_text().splitlines()[0]
    assert header == "user_id,item_id,timestamp,mark"
