"""Days that are added make the examples of one log that has them all; who is removed is gone."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.artifacts import held_out, records
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from pipelines.training import input_pipeline
from pipelines.upkeep import append, forget
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import storage

DAY_S = 86_400
FIRST_S = 1_700_000_000 // DAY_S * DAY_S


def configure(*settings):
    return RecallConfig().override(
        [
            "ingest.keep_sequences=true",
            "ingest.num_shards=3",
            "model.max_history_length=5",
            "train.batch_slots=16",
            "train.max_epochs=1",
            *settings,
        ]
    )


def random_days(seed, num_days=4, num_users=60):
    """Events of each day; some users and items are there on some days only, times repeat."""
    rng = np.random.default_rng(seed)
    days = []
    for day in range(num_days):
        size = 250
        users = rng.integers(0, num_users + 10 * day, size)
        items = rng.zipf(1.3, size) % (40 + 10 * day)
        hours = rng.integers(0, 6, size) * 3600
        days.append(
            [
                (f"u{u}", f"i{i}", FIRST_S + day * DAY_S + int(h))
                for u, i, h in zip(users, items, hours, strict=True)
            ]
        )
    return days


def join(days):
    return [event for day in days for event in day]


def write(path, events):
    users, items, times = zip(*events, strict=True)
    pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": times}), path)
    return str(path)


def content_of(examples_dir):
    """What is in the examples, by raw id, and how often each item is learnt."""
    vocabulary = records.read_vocabulary(examples_dir)
    counts = dict(zip(vocabulary.item_ids, vocabulary.counts.tolist(), strict=True))
    windows = [
        tuple(vocabulary.to_raw(window))
        for batch in held_out.read_training_windows(examples_dir)
        for window in np.split(batch.values, batch.offsets[1:-1])
    ]
    tasks = []
    for split in ("valid", "test"):
        users = held_out.read_held_out(examples_dir, split)
        for row, user in enumerate(users.user_ids.tolist()):
            one = users.take(np.array([row]))
            history, positives = (
                vocabulary.to_raw(c.values) for c in (one.histories, one.positives)
            )
            tasks.append((split, user, tuple(history), tuple(positives), int(one.num_trained[0])))
    return sorted(windows), sorted(tasks), {item: n for item, n in counts.items() if n}


def numbers_of(examples_dir):
    """The numbers of the statistics that do not depend on files and of the order of items."""
    statistics = storage.read_json(examples_dir / "statistics.json")
    splits = {
        name: {key: value for key, value in values.items() if key != "files"}
        for name, values in statistics.pop("splits").items()
    }
    report = storage.read_json(examples_dir / "ingest_report.json")
    kept = {name: report[name] for name in ("events_read", "kept", "clicks_by_day", "splits")}
    dropped = {
        name: values["events"] for name, values in report["dropped"].items() if name != "bad_rows"
    }
    statistics.pop("unknowns")
    kept["most_targets"] = report["largest_user"]["targets"]
    return statistics, splits, kept, dropped


SETTINGS = [
    [],
    ["ingest.min_item_events=4", "ingest.min_user_events=3"],
    ["ingest.protocol=next_n", "ingest.num_targets=2", "ingest.max_user_events=4"],
    ["ingest.window_stride=2"],
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_days_one_after_the_other_are_all_at_once(tmp_path, settings):
    config, days = configure(*settings), random_days(5, num_days=3)
    whole = write(tmp_path / "whole.parquet", join(days))
    ingest.run_ingest(open_events(whole), None, tmp_path / "whole", config)
    first = write(tmp_path / "0.parquet", days[0])
    ingest.run_ingest(open_events(first), None, tmp_path / "grown", config)
    for number, events in enumerate(days[1:], start=1):
        before = records.read_vocabulary(tmp_path / "grown").item_ids
        day = open_events(write(tmp_path / f"{number}.parquet", events))
        append.append_events(day, tmp_path / "grown", config)
        after = records.read_vocabulary(tmp_path / "grown").item_ids
        assert after[: len(before)] == before
    assert content_of(tmp_path / "grown") == content_of(tmp_path / "whole")
    assert numbers_of(tmp_path / "grown") == numbers_of(tmp_path / "whole")


def click(user, day, item="i1"):
    """A click at noon of a day of November 2023, from the 14th on."""
    return (user, item, FIRST_S + day * DAY_S + 43_200)


def spans_of(examples_dir):
    statistics = storage.read_json(examples_dir / "statistics.json")
    return {
        part: [int(time[8:10]) for time in span]
        for part, span in statistics["split"]["spans"].items()
    }


def test_first_and_last_times_of_the_parts_follow(tmp_path):
    """With leave_one_out the last click is for the test, the one before for validation."""
    first = [*(click("a", day) for day in (0, 1, 2)), *(click("b", day) for day in (1, 2, 3, 4))]
    source = open_events(write(tmp_path / "0.parquet", [*first, click("c", 0), click("c", 1)]))
    ingest.run_ingest(source, None, tmp_path / "grown", configure())
    # a: 14 | 15 | 16; b: 15 16 | 17 | 18; c has too few clicks to be held out.
    assert spans_of(tmp_path / "grown") == {"train": [14, 16], "valid": [15, 17], "test": [16, 18]}
    source = open_events(write(tmp_path / "1.parquet", [click("a", 6)]))
    append.append_events(source, tmp_path / "grown", configure())
    # a: 14 15 | 16 | 20
    assert spans_of(tmp_path / "grown") == {"train": [14, 16], "valid": [16, 17], "test": [18, 20]}
    source = open_events(write(tmp_path / "2.parquet", [click("c", 8)]))
    append.append_events(source, tmp_path / "grown", configure())
    # c: 14 | 15 | 22
    assert spans_of(tmp_path / "grown") == {"train": [14, 16], "valid": [15, 17], "test": [18, 22]}
    forget.forget_users(tmp_path / "grown", pa.array(["c"]))
    assert spans_of(tmp_path / "grown") == {"train": [14, 16], "valid": [16, 17], "test": [18, 20]}


def test_who_has_most_to_be_learnt_follows(tmp_path):
    events = [click("a", day) for day in range(7)] + [click("b", day) for day in range(5)]
    source = open_events(write(tmp_path / "0.parquet", [*events, click("c", 1), click("c", 2)]))
    report = ingest.run_ingest(source, None, tmp_path / "grown", configure())
    # Of 7 clicks two are held out, and the first of the others is no target.
    assert report["largest_user"] == {"user_id": "a", "targets": 4, "share": 0.5714}
    _, report = forget.forget_users(tmp_path / "grown", pa.array(["a"]))
    assert report["largest_user"] == {"user_id": "b", "targets": 2, "share": 0.6667}


def test_events_that_are_there_already_are_told_and_left_out(tmp_path):
    config, (first, second) = configure(), random_days(5, num_days=2)
    ingest.run_ingest(
        open_events(write(tmp_path / "0.parquet", first)), None, tmp_path / "grown", config
    )
    source = open_events(write(tmp_path / "1.parquet", [*first[:9], *second]))
    report = append.append_events(source, tmp_path / "grown", config)
    whole = open_events(write(tmp_path / "whole.parquet", [*first, *first[:9], *second]))
    expected = ingest.run_ingest(whole, None, tmp_path / "whole", config)
    assert content_of(tmp_path / "grown") == content_of(tmp_path / "whole")
    found, wanted = (r["dropped"]["duplicates"] for r in (report, expected))
    assert found["events"] == wanted["events"] >= 9
    assert any(" as duplicates, for example user 'u" in line for line in report["lines"])


def test_training_reads_what_counts_and_nothing_else(tmp_path):
    config, days = configure(), random_days(6, num_days=2)
    source = open_events(write(tmp_path / "0.parquet", days[0]))
    ingest.run_ingest(source, None, tmp_path / "examples", config)
    source = open_events(write(tmp_path / "1.parquet", days[1]))
    append.append_events(source, tmp_path / "examples", config)
    vocabulary = records.read_vocabulary(tmp_path / "examples")
    data = input_pipeline.read_training_data(tmp_path / "examples", config)
    read = [
        tuple(vocabulary.to_raw(row[row > 0]))
        for batch in data.dataset.take(data.steps_per_epoch)
        for row in batch.item_ids.numpy()
    ]
    assert sorted(read) == content_of(tmp_path / "examples")[0]
    assert data.num_sequences == len(read)
    assert input_pipeline.find_damaged_file(tmp_path / "examples") is None


def test_users_without_new_events_keep_their_bytes(tmp_path):
    """Their files are linked, and only marked."""
    days = random_days(7, num_days=1)
    source = open_events(write(tmp_path / "0.parquet", days[0]))
    ingest.run_ingest(source, None, tmp_path / "examples", configure())
    before = {p.name: p.stat().st_ino for p in (tmp_path / "examples").rglob("*.tfrecord.gz")}
    event = (*days[0][0][:2], FIRST_S + 9 * DAY_S)
    source = open_events(write(tmp_path / "1.parquet", [event]))
    append.append_events(source, tmp_path / "examples", configure())
    after = {p.name: p.stat().st_ino for p in (tmp_path / "examples").rglob("*.tfrecord.gz")}
    assert before.items() <= after.items()
    assert 1 <= len(after) - len(before) <= 3


class TestForget:
    @pytest.fixture
    def grown(self, tmp_path):
        days = random_days(8, num_days=2)
        source = open_events(write(tmp_path / "0.parquet", days[0]))
        ingest.run_ingest(source, None, tmp_path / "examples", self.config)
        source = open_events(write(tmp_path / "1.parquet", days[1]))
        append.append_events(source, tmp_path / "examples", self.config)
        return join(days)

    config = configure("ingest.min_item_events=3")

    def test_as_if_they_had_never_clicked(self, tmp_path, grown):
        gone = {"u3", "u4", "u61"} & {event[0] for event in grown}
        number, report = forget.forget_users(
            tmp_path / "examples", pa.array([*sorted(gone), "nobody"])
        )
        assert number == len(gone)
        rest = [event for event in grown if event[0] not in gone]
        whole = write(tmp_path / "rest.parquet", rest)
        ingest.run_ingest(open_events(whole), None, tmp_path / "rest", self.config)
        assert content_of(tmp_path / "examples") == content_of(tmp_path / "rest")
        assert numbers_of(tmp_path / "examples")[1] == numbers_of(tmp_path / "rest")[1]
        expected = storage.read_json(tmp_path / "rest/ingest_report.json")["kept"]
        # Items that nobody else clicked keep their places, and count for nothing.
        assert {**report["kept"], "items": expected["items"]} == expected
        assert report["lines"][0] == f"Removed {len(gone)} users."

    def test_nobody_of_the_file_is_there(self, tmp_path, grown):
        """The same examples: what was trained on them is up to date."""
        before = storage.sha256_of_tree(tmp_path / "examples")
        number, _ = forget.forget_users(tmp_path / "examples", pa.array(["nobody", "no one"]))
        assert number == 0
        assert storage.sha256_of_tree(tmp_path / "examples") == before

    def test_who_counts_no_longer_is_removed_as_well(self, tmp_path):
        """All events of the user are older than `ingest.max_age_days`."""
        config = configure("ingest.max_age_days=1.5")
        own = [("secret-name", f"i{n}", FIRST_S + n) for n in range(3)]
        days = random_days(9, num_days=3)
        source = open_events(write(tmp_path / "0.parquet", [*own, *days[0], *days[1]]))
        ingest.run_ingest(source, None, tmp_path / "examples", config)
        source = open_events(write(tmp_path / "2.parquet", days[2]))
        append.append_events(source, tmp_path / "examples", config)
        forget.forget_users(tmp_path / "examples", pa.array(["secret-name"]))
        files = (p for p in (tmp_path / "examples").rglob("*") if p.is_file())
        assert not any(b"secret-name" in file.read_bytes() for file in files)

    def test_nothing_of_them_is_left_in_a_file(self, tmp_path, grown):
        source = open_events(
            write(
                tmp_path / "2.parquet",
                [("secret-name", "i1", FIRST_S + 5), ("secret-name", "i2", FIRST_S + 6)],
            )
        )
        append.append_events(source, tmp_path / "examples", self.config)
        files = (p for p in (tmp_path / "examples").rglob("*") if p.is_file())
        assert any(b"secret-name" in file.read_bytes() for file in files)
        forget.forget_users(tmp_path / "examples", pa.array(["secret-name"]))
        files = (p for p in (tmp_path / "examples").rglob("*") if p.is_file())
        assert not any(b"secret-name" in file.read_bytes() for file in files)

    def test_who_was_shown_in_the_report_is_shown_no_more(self, tmp_path):
        """The user with most targets, whose events are repeated, rare, and more than the cap."""
        config = configure("ingest.min_item_events=2", "ingest.max_user_events=10")
        own = [("secret-name", f"i{n % 7}", FIRST_S + n) for n in range(60)]
        events = [*own, own[0], ("secret-name", "rare", FIRST_S + 99), *random_days(8)[0]]
        source = open_events(write(tmp_path / "0.parquet", events))
        report = ingest.run_ingest(source, None, tmp_path / "examples", config)
        assert str(report).count("secret-name") > 3
        _, report = forget.forget_users(tmp_path / "examples", pa.array(["secret-name"]))
        assert "secret-name" not in str(report)
        files = (p for p in (tmp_path / "examples").rglob("*") if p.is_file())
        assert not any(b"secret-name" in file.read_bytes() for file in files)


def test_what_was_bad_or_old_is_counted_for_all_days(tmp_path):
    config, days = configure("ingest.max_age_days=1.5"), random_days(9, num_days=3)
    first = write(tmp_path / "0.parquet", [*days[0], *days[1], ("", "i1", FIRST_S)])
    ingest.run_ingest(open_events(first), None, tmp_path / "grown", config, max_bad_rows=1)
    source = open_events(write(tmp_path / "2.parquet", days[2]))
    report = append.append_events(source, tmp_path / "grown", config)
    dropped = {name: values.get("events", 0) for name, values in report["dropped"].items()}
    assert report["dropped"]["bad_rows"]["rows"] == 1
    assert report["events_read"] == 3 * 250
    assert report["events_read"] == sum(dropped.values()) + report["kept"]["events"]


def test_another_job_in_the_meantime_is_refused(tmp_path, monkeypatch):
    refused = []
    days = random_days(1, num_days=3)
    source = open_events(write(tmp_path / "0.parquet", days[0]))
    ingest.run_ingest(source, None, tmp_path / "examples", configure())
    one, other = (open_events(write(tmp_path / f"{day}.parquet", days[day])) for day in (1, 2))
    change = append.Change.append

    def change_beside_another(self, *arguments):
        monkeypatch.setattr(append.Change, "append", change)
        for call in (
            lambda: append.append_events(other, tmp_path / "examples", configure()),
            lambda: forget.forget_users(tmp_path / "examples", pa.array(["u1"])),
        ):
            with pytest.raises(InputError) as caught:
                call()
            refused.append(str(caught.value))
        return change(self, *arguments)

    monkeypatch.setattr(append.Change, "append", change_beside_another)
    append.append_events(one, tmp_path / "examples", configure())
    line = f"Another job adds to {tmp_path / 'examples'} or removes from it. Wait for it to end."
    assert refused == [line, line]
    report = append.append_events(other, tmp_path / "examples", configure())
    assert report["events_read"] == 3 * 250
    assert not list(tmp_path.glob(".*"))


def test_events_of_old_days_go(tmp_path):
    config, days = configure("ingest.max_age_days=1.5"), random_days(9, num_days=3)
    latest = max(event[2] for event in join(days))
    recent = [event for event in join(days) if event[2] >= latest - 1.5 * DAY_S]
    whole = write(tmp_path / "recent.parquet", recent)
    ingest.run_ingest(open_events(whole), None, tmp_path / "recent", configure())
    all_days = write(tmp_path / "all.parquet", join(days))
    report = ingest.run_ingest(open_events(all_days), None, tmp_path / "all", config)
    assert report["dropped"]["old_events"]["events"] > 0
    assert content_of(tmp_path / "all") == content_of(tmp_path / "recent")
    source = open_events(write(tmp_path / "0.parquet", days[0] + days[1]))
    ingest.run_ingest(source, None, tmp_path / "grown", config)
    source = open_events(write(tmp_path / "2.parquet", days[2]))
    append.append_events(source, tmp_path / "grown", config)
    assert content_of(tmp_path / "grown") == content_of(tmp_path / "recent")


@pytest.mark.parametrize(
    ("file_items", "line"),
    [
        # None of the file is missing in the log: there is no example of that side.
        (["i0", "i1"], "2 of the log's 4 items (50%) are in the items file; the others have"),
        (["i0", "i1", "i2"], "3 of the log's 4 items (75%) are in the items file; the others"),
        (["i0", "extra"], "Warning: 1 of the log's 4 items (25%) are in the items file; the"),
    ],
)
def test_an_items_file_that_lacks_some_of_the_items(tmp_path, file_items, line):
    """New items are none of the file's; which were before stays so, also when users go."""
    times = iter(range(FIRST_S, FIRST_S + 99))
    first = [
        (user, item, next(times)) for user in ("a", "b", "c") for item in ("i0", "i1", "i2", "i0")
    ]
    items = tmp_path / "items.csv"
    items.write_text(
        "item_id,category,title\n" + "".join(f"{item},null,\n" for item in file_items),
        encoding="utf-8",
    )
    source = open_events(write(tmp_path / "0.parquet", first))
    before = ingest.run_ingest(source, str(items), tmp_path / "examples", configure())
    source = open_events(write(tmp_path / "1.parquet", [("a", "new", FIRST_S + DAY_S)]))
    report = append.append_events(source, tmp_path / "examples", configure())
    assert report["lines"][0] == f"Added 1 event from {source.name}; 0 new users."
    assert report["lines"][1].startswith("Read 13 events from ")
    assert [text for text in report["lines"] if text.startswith(line)]
    assert report["items_file"] == before["items_file"]
    assert report["marked_categories"] == before["marked_categories"] != {}
    assert report["unmatched_items"]["only_in_log"] in {"i1", "i2", "new"}
    _, forgotten = forget.forget_users(tmp_path / "examples", pa.array(["b"]))
    assert forgotten["unmatched_items"] == report["unmatched_items"]
    assert forgotten["source"] == report["source"]


def as_an_earlier_version_kept_them(sequences_dir):
    """Owners in a file for each file of examples, times of 8 bytes, all parts, spans by ends."""
    for path in sequences_dir.glob("owners-*.json"):
        owners, at = np.load(path.with_suffix(".npy")), 0
        for split, bucket, size in storage.read_json(path):
            name = f"owners_{split}_{bucket}-{path.stem[-5:]}.npy"
            np.save(sequences_dir / name, owners[at : at + size])
            at += size
        path.unlink()
        path.with_suffix(".npy").unlink()
    for path in sequences_dir.glob("timestamps-*.npy"):
        np.save(path, np.load(path).astype(np.float64))
    for path in sequences_dir.glob("parts-*.npy"):
        items = np.load(path.with_name(path.name.replace("parts", "items")))
        np.save(path, np.zeros(len(items), np.int8))
    (path,) = sequences_dir.glob("state-*.json")
    state = storage.read_json(path)
    spans = state["split"]["spans"]
    state["split"]["spans"] = {part: span[:2] for part, span in spans.items()}
    storage.write_json(path, state)


def test_sequences_that_an_earlier_version_kept(tmp_path):
    config, days = configure(), random_days(4, num_days=2)
    source = open_events(write(tmp_path / "0.parquet", days[0]))
    ingest.run_ingest(source, None, tmp_path / "grown", config)
    as_an_earlier_version_kept_them(tmp_path / "grown/sequences")
    assert list((tmp_path / "grown/sequences").glob("owners_train_*"))
    source = open_events(write(tmp_path / "1.parquet", days[1]))
    append.append_events(source, tmp_path / "grown", config)
    source = open_events(write(tmp_path / "whole.parquet", join(days)))
    ingest.run_ingest(source, None, tmp_path / "whole", config)
    assert content_of(tmp_path / "grown") == content_of(tmp_path / "whole")
    assert numbers_of(tmp_path / "grown") == numbers_of(tmp_path / "whole")


def test_an_items_file_with_the_day(tmp_path):
    """All items have what it says of them, as if it had been there from the beginning."""
    config, days = configure("ingest.min_item_events=2"), random_days(5, num_days=2)
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("item_id,category,title\n" + "".join(f"i{n},old,Old {n}\n" for n in range(30)))
    new.write_text(
        "item_id,category,title\n" + "".join(f"i{n},c{n % 3}|x,New {n}\n" for n in range(1, 44))
    )
    source = open_events(write(tmp_path / "0.parquet", days[0]))
    ingest.run_ingest(source, str(old), tmp_path / "grown", config)
    source = open_events(write(tmp_path / "1.parquet", days[1]))
    found = append.append_events(source, tmp_path / "grown", config, items_file=str(new))
    source = open_events(write(tmp_path / "whole.parquet", join(days)))
    wanted = ingest.run_ingest(source, str(new), tmp_path / "whole", config)
    known = [records.read_vocabulary(tmp_path / name) for name in ("grown", "whole")]
    of = [
        {i: (c, t) for i, c, t in zip(v.item_ids, v.categories, v.titles, strict=True)}
        for v in known
    ]
    assert of[0] == of[1]
    assert of[0]["i0"] == ((), "")
    assert of[0]["i41"] == (("c2", "x"), "New 41")
    for name in ("items_file", "marked_categories"):
        assert found[name] == wanted[name]
    for name in ("unmatched", "matched_plain"):
        assert found["unmatched_items"].get(name) == wanted["unmatched_items"].get(name)
    inputs = storage.read_json(tmp_path / "grown/artifact.json")["inputs"]
    assert inputs["items"] == storage.read_json(tmp_path / "whole/artifact.json")["inputs"]["items"]


@pytest.mark.parametrize("job", ["append", "forget"])
def test_examples_that_a_killed_job_left_aside_come_back(tmp_path, job):
    days = random_days(1, num_days=2)
    source = open_events(write(tmp_path / "0.parquet", days[0]))
    ingest.run_ingest(source, None, tmp_path / "examples", configure())
    # As a process leaves it that is killed between two renames.
    (tmp_path / "examples").rename(tmp_path / ".examples.0a1b2c3d.old")
    (tmp_path / ".examples.4e5f6a7b.partial").mkdir()
    if job == "append":
        source = open_events(write(tmp_path / "1.parquet", days[1]))
        assert append.append_events(source, tmp_path / "examples", configure())["kept"]
    else:
        assert forget.forget_users(tmp_path / "examples", pa.array(["u1"]))[0] == 1
    assert not list(tmp_path.glob(".*"))


class TestDamage:
    """One line that names the file; the examples stay as they are."""

    @pytest.mark.parametrize("damage", ["cut", "gone"])
    @pytest.mark.parametrize(
        "name",
        [
            "state-00000.json",
            "catalogue-00000.arrow",
            "dense_ids-00000.npy",
            "item_counts-00000.npy",
            "train_counts-00000.npy",
            "users-10001.arrow",
            "alive-10001.npy",
            "offsets-10001.npy",
            "items-10001.npy",
            "timestamps-10001.npy",
        ],
    )
    def test_of_a_kept_file(self, tmp_path, name, damage):
        days = random_days(1, num_days=2)
        source = open_events(write(tmp_path / "0.parquet", days[0]))
        ingest.run_ingest(source, None, tmp_path / "examples", configure())
        path = tmp_path / "examples/sequences" / name
        content = path.read_bytes()
        path.unlink()
        if damage == "cut":
            path.write_bytes(content[: len(content) // 2])
        before = storage.sha256_of_tree(tmp_path / "examples")
        source = open_events(write(tmp_path / "1.parquet", days[1]))
        with pytest.raises(InputError, match=name):
            append.append_events(source, tmp_path / "examples", configure())
        with pytest.raises(InputError, match=name):
            forget.forget_users(tmp_path / "examples", pa.array([f"u{n}" for n in range(30)]))
        assert storage.sha256_of_tree(tmp_path / "examples") == before

    @pytest.mark.parametrize("damage", ["cut", "gone"])
    def test_of_the_vocabulary(self, tmp_path, damage):
        days = random_days(1, num_days=2)
        source = open_events(write(tmp_path / "0.parquet", days[0]))
        ingest.run_ingest(source, None, tmp_path / "examples", configure())
        path = tmp_path / "examples/vocabulary.parquet"
        content = path.read_bytes()
        path.unlink()
        if damage == "cut":
            path.write_bytes(content[:-20])
        source = open_events(write(tmp_path / "1.parquet", days[1]))
        with pytest.raises(InputError, match="Cannot read the vocabulary"):
            append.append_events(source, tmp_path / "examples", configure())
        with pytest.raises(InputError, match="Cannot read the vocabulary"):
            forget.forget_users(tmp_path / "examples", pa.array(["u1"]))

    @pytest.mark.parametrize("split", ["train", "valid", "test"])
    def test_a_file_of_examples_that_is_gone(self, tmp_path, split):
        days = random_days(1, num_days=2)
        source = open_events(write(tmp_path / "0.parquet", days[0]))
        ingest.run_ingest(source, None, tmp_path / "examples", configure())
        gone = min((tmp_path / f"examples/Split-{split}").glob("*.tfrecord*"))
        gone.unlink()
        source = open_events(write(tmp_path / "1.parquet", days[1]))
        with pytest.raises(InputError, match=f"{gone.name} is missing"):
            append.append_events(source, tmp_path / "examples", configure())
        with pytest.raises(InputError, match=f"{gone.name} is missing"):
            forget.forget_users(tmp_path / "examples", pa.array(["u1"]))


class TestRefusals:
    @pytest.mark.parametrize("left", [[], ["u1"]])
    def test_forgetting_everybody(self, tmp_path, left):
        source = open_events(write(tmp_path / "0.parquet", random_days(1)[0]))
        ingest.run_ingest(source, None, tmp_path / "examples", configure())
        before = storage.sha256_of_tree(tmp_path / "examples")
        users = {event[0] for event in random_days(1)[0]} - set(left)
        with pytest.raises(InputError, match=f"{len(left)} users? would be left"):
            forget.forget_users(tmp_path / "examples", pa.array(sorted(users)))
        assert storage.sha256_of_tree(tmp_path / "examples") == before

    def test_other_settings(self, tmp_path):
        days = random_days(1, num_days=2)
        source = open_events(write(tmp_path / "0.parquet", days[0]))
        ingest.run_ingest(source, None, tmp_path / "examples", configure())
        before = storage.sha256_of_tree(tmp_path / "examples")
        source = open_events(write(tmp_path / "1.parquet", days[1]))
        with pytest.raises(InputError, match=r"Give --set=ingest\.min_user_events=2,"):
            append.append_events(
                source, tmp_path / "examples", configure("ingest.min_user_events=5")
            )
        assert storage.sha256_of_tree(tmp_path / "examples") == before

    def test_settings_of_a_later_version_are_as_by_default(self, tmp_path):
        days = random_days(1, num_days=2)
        source = open_events(write(tmp_path / "0.parquet", days[0]))
        ingest.run_ingest(source, None, tmp_path / "examples", configure())
        record = storage.read_json(tmp_path / "examples/artifact.json")
        del record["settings"]["ingest"]["window_stride"]
        storage.write_json(tmp_path / "examples/artifact.json", record)
        source = open_events(write(tmp_path / "1.parquet", days[1]))
        with pytest.raises(InputError, match=r"--set=ingest\.window_stride=null"):
            append.append_events(source, tmp_path / "examples", configure("ingest.window_stride=2"))
        append.append_events(source, tmp_path / "examples", configure())
        record = storage.read_json(tmp_path / "examples/artifact.json")
        assert record["settings"]["ingest"]["window_stride"] is None

    def test_sequences_that_were_not_kept(self, tmp_path):
        source = open_events(write(tmp_path / "0.parquet", random_days(1)[0]))
        config = configure("ingest.keep_sequences=false")
        ingest.run_ingest(source, None, tmp_path / "examples", config)
        with pytest.raises(InputError, match="keep_sequences=true"):
            append.append_events(source, tmp_path / "examples", config)

    def test_the_same_day_twice_is_added_once(self, tmp_path):
        days = random_days(1, num_days=2)
        source = open_events(write(tmp_path / "0.parquet", days[0]))
        ingest.run_ingest(source, None, tmp_path / "examples", configure())
        source = open_events(write(tmp_path / "1.parquet", days[1]))
        report = append.append_events(source, tmp_path / "examples", configure())
        made = storage.sha256_of_tree(tmp_path / "examples")
        assert append.append_events(source, tmp_path / "examples", configure()) == report
        assert storage.sha256_of_tree(tmp_path / "examples") == made

    def test_another_items_file_with_the_same_day_is_taken_in(self, tmp_path):
        days = random_days(1, num_days=2)
        items = tmp_path / "items.csv"
        items.write_text("item_id,category,title\ni0,red,\n")
        source = open_events(write(tmp_path / "0.parquet", days[0]))
        ingest.run_ingest(source, str(items), tmp_path / "examples", configure())
        source = open_events(write(tmp_path / "1.parquet", days[1]))
        for _ in range(2):
            append.append_events(source, tmp_path / "examples", configure(), items_file=str(items))
        before = content_of(tmp_path / "examples"), numbers_of(tmp_path / "examples")
        items.write_text("item_id,category,title\ni0,blue,\n")
        report = append.append_events(
            source, tmp_path / "examples", configure(), items_file=str(items)
        )
        assert report["lines"][0] == (
            "Took in what the files say of items and users; no new events."
        )
        assert (content_of(tmp_path / "examples"), numbers_of(tmp_path / "examples")) == before
        vocabulary = records.read_vocabulary(tmp_path / "examples")
        assert vocabulary.categories[vocabulary.item_ids.index("i0")] == ("blue",)
        made = storage.sha256_of_tree(tmp_path / "examples")
        append.append_events(source, tmp_path / "examples", configure(), items_file=str(items))
        assert storage.sha256_of_tree(tmp_path / "examples") == made


def test_times_are_those_of_all_days(tmp_path):
    """What was odd in a day is counted with what was before; the first row shown stays."""
    header, now = "user_id,item_id,timestamp", FIRST_S
    days = {
        "a.csv": [(0, 0), *((user, now + time) for user in range(3) for time in range(8))],
        "b.csv": [(0, -3), (1, now * 1000 + 8500), (2, (now + 999 * DAY_S * 20) * 1000)],
        "c.csv": [(0, now + 11), (1, 0), (2, now + 13)],
    }
    reports = []
    for name, events in days.items():
        rows = [f"u{user},i{(user + row) % 3},{time}" for row, (user, time) in enumerate(events)]
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n")
        source = open_events(str(tmp_path / name))
        output = tmp_path / "grown"
        if not reports:
            reports.append(ingest.run_ingest(source, None, output, configure()))
        else:
            reports.append(append.append_events(source, output, configure()))
    first, second = (str(tmp_path / name) for name in ("a.csv", "b.csv"))
    late = str((now + 999 * DAY_S * 20) * 1000)
    assert reports[0]["times"] == {
        "forms": {"seconds": {"files": 1, "first": first}},
        "early": {"count": 1, "file": first, "row": 1, "value": "0"},
        "first_s": 0.0,
        "last_s": now + 7.0,
    }
    assert reports[2]["times"] == {
        "forms": {
            "seconds": {"files": 2, "first": first},
            "milliseconds": {"files": 1, "first": second},
        },
        "early": {"count": 3, "file": first, "row": 1, "value": "0"},
        "future": {"count": 1, "file": second, "row": 3, "value": late},
        "first_s": -3.0,
        "last_s": now + 999.0 * DAY_S * 20,
    }
    assert storage.read_json(tmp_path / "grown/ingest_report.json")["times"] == reports[2]["times"]
    lines = "\n".join(reports[2]["lines"])
    assert "Warning: 3 times of 0, below 0 or of the first day of 1970" in lines
    assert f"seconds (2 files, the first is {first}); milliseconds (1 file" in lines


def test_events_of_an_earlier_day_that_come_late(tmp_path):
    config, days = configure(), random_days(3, num_days=3)
    late, rest = days[1][::5], [event for at, event in enumerate(days[1]) if at % 5]
    first = open_events(write(tmp_path / "0.parquet", [*days[0], *rest, *days[2]]))
    ingest.run_ingest(first, None, tmp_path / "grown", config)
    append.append_events(
        open_events(write(tmp_path / "1.parquet", late)), tmp_path / "grown", config
    )
    whole = open_events(write(tmp_path / "whole.parquet", [*days[0], *rest, *days[2], *late]))
    ingest.run_ingest(whole, None, tmp_path / "whole", config)
    assert content_of(tmp_path / "grown") == content_of(tmp_path / "whole")
