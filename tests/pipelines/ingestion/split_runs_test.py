"""Whole ingest runs with a clock and with sessions, on logs small enough to work out by hand."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipelines import cli
from pipelines.artifacts import records
from pipelines.ingestion import ingest
from pipelines.ingestion.open_log import open_events
from recall.config import RecallConfig
from recall.errors import InputError

MARCH = "2024-03-{:02d}T{:02d}:00:00"


def write_log(path, rows):
    """A log of (user, item, day of March[, hour])."""
    lines = [f"{user},{item},{MARCH.format(*(*at, 12)[:2])}" for user, item, *at in rows]
    path.write_text("\n".join(["user_id,item_id,timestamp", *lines, ""]))
    return path


def run(path, output, *assignments):
    config = RecallConfig().override(["ingest.num_shards=2", *assignments])
    return ingest.run_ingest(open_events(str(path)), None, output, config)


def decode(examples_dir, split):
    """The examples of a split as dictionaries of raw ids."""
    vocabulary = records.read_vocabulary(examples_dir)
    paths = sorted(map(str, (examples_dir / f"Split-{split}").glob("*.tfrecord.gz")))
    for record in tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        values = {
            name: list(vocabulary.to_raw(list(feature[name].int64_list.value)))
            for name in ("item_ids", "history", "positives")
            if name in feature
        }
        if "user_id" in feature:
            values["user_id"] = feature["user_id"].bytes_list.value[0].decode()
        yield values


def tasks(examples_dir, split):
    return sorted(
        (one["user_id"], "".join(one["history"]), "".join(one["positives"]))
        for one in decode(examples_dir, split)
    )


def windows(examples_dir):
    return sorted("".join(one["item_ids"]) for one in decode(examples_dir, "train"))


def split_of(examples_dir):
    return json.loads((examples_dir / "statistics.json").read_text())["split"]


ROWS = [
    *[("u1", item, day) for day, item in enumerate("abcdefg", start=1)],  # March 1 to 7
    *[("u2", item, day) for day, item in enumerate("bca", start=1)],
    *[("u3", item, day) for day, item in zip((4, 5, 6, 7), "abxc", strict=True)],
    *[("u4", item, day) for day, item in zip((6, 7, 7), "yza", strict=True)],
]
BY_DATE = (
    "ingest.protocol=temporal",
    "ingest.valid_from=2024-03-04",
    "ingest.test_from=2024-03-06",
)


class TestTemporal:
    def test_one_clock_for_all_users(self, tmp_path):
        report = run(write_log(tmp_path / "log.csv", ROWS), tmp_path / "out", *BY_DATE)
        out = tmp_path / "out"
        assert windows(out) == ["abc", "bca"]
        # u3 came on the first day of validation, u4 on the first of the test.
        assert tasks(out, "valid") == [("u1", "abc", "de"), ("u3", "a", "b")]
        assert tasks(out, "test") == [
            ("u1", "abcde", "fg"),
            ("u3", "ab", "xc"),
            ("u4", "y", "za"),
        ]
        assert split_of(out) == {
            "protocol": "temporal",
            "clock": {
                "valid_from": "2024-03-04",
                "test_from": "2024-03-06",
                "embargo_days": 0.0,
                "chosen_by": "date",
                "targets_of_a_user": 5,
            },
            "sessions_of_users": None,
            "session_gap_minutes": None,
            "spans": {
                "train": ["2024-03-01T12:00:00", "2024-03-03T12:00:00"],
                "valid": ["2024-03-04T12:00:00", "2024-03-05T12:00:00"],
                "test": ["2024-03-06T12:00:00", "2024-03-07T12:00:00"],
                "context": ["2024-03-04T12:00:00", "2024-03-06T12:00:00"],
            },
            "cold_users": {"valid": 1, "test": 2},
            "cold_targets": {"valid": 2, "test": 4},  # d e; f g x z
        }
        assert report["lines"][-2:] == [
            "Training ends and validation begins at 2024-03-04, the test at 2024-03-06.",
            "Of the test users 2 are new after training's end (validation: 1); 4 clicks of the "
            "test are on items that it never saw (validation: 2).",
        ]

    def test_next_n_after_the_clock(self, tmp_path):
        out = tmp_path / "out"
        run(write_log(tmp_path / "log.csv", ROWS), out, *BY_DATE, "ingest.num_targets=1")
        assert tasks(out, "valid") == [("u1", "abc", "d"), ("u3", "a", "b")]
        assert tasks(out, "test") == [("u1", "abcde", "f"), ("u3", "ab", "x"), ("u4", "y", "z")]

    def test_embargo(self, tmp_path):
        out = tmp_path / "out"
        run(write_log(tmp_path / "log.csv", ROWS), out, *BY_DATE, "ingest.embargo_days=1")
        assert windows(out) == ["ab", "bc"]
        assert tasks(out, "valid") == [("u1", "abc", "d")]
        assert split_of(out)["spans"]["train"][1] == "2024-03-02T12:00:00"

    def test_by_share(self, tmp_path):
        # Ten users click once an hour: the last hour has a tenth, the one before too.
        hours = list(enumerate("abcdefghij"))
        rows = [(f"u{user}", item, 1, hour) for user in range(10) for hour, item in hours]
        out = tmp_path / "out"
        run(write_log(tmp_path / "log.csv", rows), out, "ingest.protocol=temporal")
        clock = split_of(out)["clock"]
        assert (clock["valid_from"], clock["test_from"]) == (
            "2024-03-01T08:00:00",
            "2024-03-01T09:00:00",
        )
        assert clock["chosen_by"] == "share"
        assert tasks(out, "test") == [(f"u{user}", "abcdefghi", "j") for user in range(10)]

    @pytest.mark.parametrize(
        ("assignments", "message"),
        [
            (
                ("ingest.valid_from=2024-03-04", "ingest.test_from=2024-04-01"),
                r"no user has a click for the test .*ingest\.test_from=2024-04-01.* The log goes "
                r"from 2024-03-01T12:00:00 to 2024-03-07T12:00:00",
            ),
            (
                (
                    "ingest.valid_from=2024-03-05",
                    "ingest.test_from=2024-03-06",
                    "ingest.embargo_days=3",
                ),
                r"no user has a click for validation .*ingest\.embargo_days=3",
            ),
            (
                ("ingest.valid_from=2023-03-04", "ingest.test_from=2024-03-06"),
                "no user has two training events left under protocol temporal",
            ),
        ],
    )
    def test_a_clock_that_leaves_a_part_empty(self, tmp_path, assignments, message):
        path = write_log(tmp_path / "log.csv", ROWS)
        with pytest.raises(InputError, match=message):
            run(path, tmp_path / "out", "ingest.protocol=temporal", *assignments)
        assert not (tmp_path / "out").exists()

    def test_a_log_of_positions_has_no_clock(self, tmp_path):
        path = tmp_path / "log.csv"
        path.write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\nv,a,1\nv,b,2\n")
        with pytest.raises(InputError, match="has no times: 4 of its timestamps"):
            run(path, tmp_path / "out", *BY_DATE)

    def test_nothing_of_anybody_after_the_clock_is_learnt(self, tmp_path):
        """Of a random log every window is made of clicks before the clock, from the file itself."""
        rng = np.random.default_rng(5)
        rows = [
            (f"u{rng.integers(40)}", f"i{number}", int(rng.integers(1, 29)), int(rng.integers(24)))
            for number in range(800)
        ]
        out = tmp_path / "out"
        clock = ("ingest.valid_from=2024-03-15", "ingest.test_from=2024-03-20T06:00")
        path = write_log(tmp_path / "log.csv", rows)
        run(path, out, "ingest.protocol=temporal", *clock, "ingest.num_targets=null")
        before = {item for _, item, day, _ in rows if day < 15}
        later = {item for _, item, day, hour in rows if (day, hour) >= (20, 6)}
        learnt = {item for one in decode(out, "train") for item in one["item_ids"]}
        wanted = {split: list(decode(out, split)) for split in ("valid", "test")}
        assert learnt <= before
        assert {item for one in wanted["test"] for item in one["positives"]} <= later
        assert not {item for one in wanted["valid"] for item in one["positives"]} & (before | later)
        assert not {item for one in wanted["test"] for item in one["history"]} & (
            later - {one["history"][0] for one in wanted["test"]}
        )


SESSIONS = [
    *[("u1", item, 1, hour) for hour, item in enumerate("abcd")],
    *[("u1", item, 3, hour) for hour, item in enumerate("bcd")],
    *[("u2", item, 1, hour) for hour, item in enumerate("cab")],
    ("u2", "a", 9, 5),
]


class TestSessions:
    def test_sequences_are_sessions(self, tmp_path):
        out = tmp_path / "out"
        path = write_log(tmp_path / "log.csv", SESSIONS)
        report = run(path, out, "ingest.session_gap_minutes=60")
        assert windows(out) == ["ab"]
        assert tasks(out, "valid") == [("u1#1", "ab", "c"), ("u1#2", "b", "c"), ("u2#1", "c", "a")]
        assert tasks(out, "test") == [
            ("u1#1", "abc", "d"),
            ("u1#2", "bc", "d"),
            ("u2#1", "ca", "b"),
        ]
        assert report["kept"]["users"] == 3  # The session of one click has nothing to predict.
        assert split_of(out)["sessions_of_users"] == 2
        assert report["lines"][-1] == (
            "Users stand for sessions: those of 2 users, with gaps of at most 60 minutes."
        )

    def test_with_a_clock(self, tmp_path):
        rows = [*SESSIONS, *[("u2", item, 5, hour) for hour, item in enumerate("bca")]]
        out = tmp_path / "out"
        path = write_log(tmp_path / "log.csv", rows)
        clock = ("ingest.valid_from=2024-03-03", "ingest.test_from=2024-03-05")
        run(path, out, "ingest.session_gap_minutes=60", "ingest.protocol=temporal", *clock)
        assert windows(out) == ["abcd", "cab"]
        assert tasks(out, "valid") == [("u1#2", "b", "cd")]
        assert tasks(out, "test") == [("u2#2", "b", "ca")]
        assert split_of(out)["cold_users"] == {"valid": 1, "test": 1}


def test_one_event_in_two_parts_stops(tmp_path, capsys):
    lines = ["u,a,2024-03-01,train", "u,b,2024-03-02,train", "u,c,2024-03-03,valid"]
    lines += ["u,d,2024-03-04,test", "v,a,2024-03-01,train", "v,b,2024-03-02,train"]
    path = tmp_path / "log.csv"
    head = "user_id,item_id,timestamp,split"
    path.write_text("\n".join([head, *lines, "u,d,2024-03-04,train", ""]))
    words = ["ingest", f"--events={path}", f"--output={tmp_path / 'out'}"]
    assert cli.main([*words, "--set=ingest.protocol=provided"]) == 1
    error = capsys.readouterr().err
    assert "1 events in several parts of its split" in error
    assert "user 'u', item 'd' in 'test' and 'train'" in error
    assert len(error.splitlines()) == 1
    path.write_text("\n".join([head, *lines, "u,d,2024-03-04,test", ""]))
    assert cli.main([*words, "--set=ingest.protocol=provided"]) == 0


@pytest.mark.slow
@pytest.mark.skipif("RECALL_DATA_DIR" not in os.environ, reason="RECALL_DATA_DIR names no logs")
class TestRealLogs:
    def test_ml_100k_by_time(self, tmp_path):
        """Its real times, counted again with pandas."""
        import pandas as pd

        path = Path(os.environ["RECALL_DATA_DIR"]) / "ml-100k" / "events.csv.gz"
        out = tmp_path / "out"
        run(path, out, "ingest.protocol=temporal", "ingest.num_targets=null")
        split, log = split_of(out), pd.read_csv(path)
        valid_from, test_from = (
            pd.Timestamp(split["clock"][name], tz="UTC").timestamp()
            for name in ("valid_from", "test_from")
        )
        shares = [(log.timestamp >= time).mean() for time in (valid_from, test_from)]
        assert shares == pytest.approx([0.2, 0.1], abs=0.01)
        trained = set(log.user_id[log.timestamp < valid_from])
        tested = log[log.timestamp >= test_from]
        came = log.groupby("user_id").timestamp.min()
        clicks = tested.groupby("user_id").size()
        # Who came in the time of the test needs a second click.
        asked = [u for u, n in clicks.items() if came[u] < test_from or n > 1]
        assert split["cold_users"]["test"] == sum(u not in trained for u in asked)
        assert len(tasks(out, "test")) == len(asked)

    def test_diginetica_is_a_log_of_sessions(self, tmp_path):
        path = Path(os.environ["RECALL_DATA_DIR"]) / "diginetica" / "events.csv.gz"
        report = run(path, tmp_path / "out")
        assert report["kept"]["users"] == 202_633
        assert split_of(tmp_path / "out")["spans"] == {}
