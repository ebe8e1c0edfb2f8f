"""Whole ingest runs on logs small enough to work out by hand."""

import json
import os
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipelines.artifacts import records
from pipelines.ingestion import beam, ingest, schema
from pipelines.ingestion import report as ingest_report
from pipelines.ingestion.open_log import open_events
from pipelines.sources.events import EVENT_SCHEMA, EVENT_SCHEMA_WITH_SPLIT, EventSource
from recall import features
from recall.config import RecallConfig
from recall.errors import InputError
from serving.release import storage

_ONE_BY_ONE = [("u1", item, at) for at, item in enumerate("abcde", start=1)]


class MemorySource(EventSource):
    """Events from a list of (user, item, timestamp[, split])."""

    def __init__(self, rows, *, order=None, batch_size=4, name="memory"):
        super().__init__(name)
        self._rows = list(rows)
        self._order = range(len(self._rows)) if order is None else order
        self._batch_size = batch_size
        self.has_split = bool(self._rows) and len(self._rows[0]) == 4

    def fingerprint(self):
        return f"fingerprint of {self._rows}"

    def _raw_batches(self, bad_rows):
        raise NotImplementedError

    def read_batches(self, max_bad_rows=0):
        schema = EVENT_SCHEMA_WITH_SPLIT if self.has_split else EVENT_SCHEMA
        rows = [(*self._rows[row][:3], row, *self._rows[row][3:]) for row in self._order]
        for start in range(0, len(rows), self._batch_size):
            columns = zip(*rows[start : start + self._batch_size], strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _config(*assignments):
    return RecallConfig().override(["ingest.num_shards=2", *assignments])


def _decode(examples_dir, split, *, file_pattern="*.tfrecord.gz"):
    """Examples of a split as dictionaries of lists, in no special order."""
    paths = sorted(str(path) for path in (examples_dir / f"Split-{split}").glob(file_pattern))
    examples = []
    for record in tf.data.TFRecordDataset(paths, "GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        examples.append(
            {
                name: list(values.bytes_list.value or values.int64_list.value)
                for name, values in feature.items()
            }
        )
    return examples


def _windows(examples_dir, **kwargs):
    return sorted(tuple(e["item_ids"]) for e in _decode(examples_dir, "train", **kwargs))


def _tasks(examples_dir, split):
    return sorted(
        (e["user_id"][0].decode(), e["history"], e["positives"])
        for e in _decode(examples_dir, split)
    )


def _raw_content(examples_dir):
    """Every example in raw ids, independent of files and of the numbering."""
    raw = records.read_vocabulary(examples_dir).to_raw
    train = sorted(raw(window) for window in _windows(examples_dir))
    held_out = [
        [(user, raw(history), raw(positives)) for user, history, positives in tasks]
        for tasks in (_tasks(examples_dir, "valid"), _tasks(examples_dir, "test"))
    ]
    return train, *held_out


def _read_json(path):
    return json.loads(path.read_text())


class TestProtocols:
    def test_leave_one_out(self, tmp_path):
        rows = [
            *_ONE_BY_ONE,
            *[("u2", "b", 1), ("u2", "a", 2), ("u2", "c", 3)],
            *[("u3", "c", 1), ("u3", "a", 2)],
            *[("u4", "c", 9), ("u4", "b", 9)],
        ]
        report = ingest.run_ingest(MemorySource(rows), None, tmp_path / "examples", _config())
        examples = tmp_path / "examples"
        # In training: u1 a b c, u2 b, u3 c a, u4 c b: b and c 3 times, a twice.
        vocabulary = records.read_vocabulary(examples)
        assert vocabulary.item_ids == ("b", "c", "a", "d", "e")  # dense 2 3 4 5 6
        assert vocabulary.counts.tolist() == [3, 3, 2, 0, 0]
        assert _windows(examples) == [(3, 2), (3, 4), (4, 2, 3)]
        assert _tasks(examples, "valid") == [("u1", [4, 2, 3], [5]), ("u2", [2], [4])]
        assert _tasks(examples, "test") == [("u1", [4, 2, 3, 5], [6]), ("u2", [2, 4], [3])]
        assert report["kept"] == {"users": 4, "items": 5, "events": 12}
        assert report["training_only_users"] == 2
        # u1 has a window of three events; the one training event of u2 makes none.
        trained = {e["user_id"][0]: e["num_trained"] for e in _decode(examples, "test")}
        assert trained == {b"u1": [3], b"u2": [0]}

    def test_next_n(self, tmp_path):
        rows = [("u1", item, at) for at, item in enumerate("abcdefgh")]
        rows += [("u2", item, at) for at, item in enumerate("hgba")]
        config = _config(
            "ingest.protocol=next_n", "ingest.num_targets=2", "model.max_history_length=2"
        )
        ingest.run_ingest(MemorySource(rows), None, tmp_path / "examples", config)
        examples = tmp_path / "examples"
        # In training: u1 a b c d; u2 whole (it would need 5 events): h g b a.
        vocabulary = records.read_vocabulary(examples)
        assert vocabulary.item_ids == tuple("abcdghef")  # dense 2..9
        assert vocabulary.counts.tolist() == [2, 2, 1, 1, 1, 1, 0, 0]
        # u1: b c d, and a b before it; u2: g b a, and h g before it.
        assert _windows(examples) == [(2, 3), (3, 4, 5), (6, 3, 2), (7, 6)]
        assert _tasks(examples, "valid") == [("u1", [2, 3, 4, 5], [8, 9])]
        assert _tasks(examples, "test") == [("u1", [2, 3, 4, 5, 8, 9], [6, 7])]

    def test_provided(self, tmp_path):
        labels = ("train", "train", "context", "valid", "test")
        rows = [(*event, label) for event, label in zip(_ONE_BY_ONE, labels, strict=True)]
        rows += [("u2", "a", 1, "train"), ("u2", "c", 2, "train"), ("u2", "b", 3, "test")]
        config = _config("ingest.protocol=provided")
        ingest.run_ingest(MemorySource(rows), None, tmp_path / "examples", config)
        examples = tmp_path / "examples"
        vocabulary = records.read_vocabulary(examples)
        assert vocabulary.item_ids == tuple("abcde")
        assert vocabulary.counts.tolist() == [2, 1, 1, 0, 0]  # c: only where u2 learns it
        assert _windows(examples) == [(2, 3), (2, 4)]
        assert _tasks(examples, "valid") == [("u1", [2, 3, 4], [5])]
        assert _tasks(examples, "test") == [("u1", [2, 3, 4, 5], [6]), ("u2", [2, 4], [3])]
        assert _read_json(examples / "statistics.json")["context_events"] == 1

    def test_a_split_column_is_ignored_by_the_other_protocols(self, tmp_path):
        rows = [(u, *event[1:], "test") for u in ("u1", "u2") for event in _ONE_BY_ONE]
        ingest.run_ingest(MemorySource(rows), None, tmp_path / "examples", _config())
        assert len(_tasks(tmp_path / "examples", "valid")) == 2


class TestCleaning:
    def test_counts_and_shows_what_is_dropped(self, tmp_path):
        rows = [
            *[("u1", "a", 1), ("u1", "b", 2), ("u1", "a", 1), ("u1", "c", 3), ("u1", "d", 4)],
            *[("u2", "a", 1), ("u2", "b", 2), ("u2", "c", 3), ("u2", "d", 4)],
            *[("u3", "rare", 1), ("u3", "a", 2)],
            *[("u4", "d", 1), ("u4", "b", 2)],
        ]
        config = _config("ingest.min_item_events=2", "ingest.min_user_events=2")
        report = ingest.run_ingest(MemorySource(rows), None, tmp_path / "examples", config)
        # `rare` goes first; u3 then has one event and goes too.
        row = {"user_id": "u3", "item_id": "rare", "timestamp": 1.0, "row": 9}
        assert report["dropped"]["rare_items"] == {"items": 1, "events": 1, "first": [row]}
        row = {"user_id": "u3", "item_id": "a", "timestamp": 2.0, "row": 10}
        assert report["dropped"]["short_users"] == {"users": 1, "events": 1, "first": [row]}
        row = {"user_id": "u1", "item_id": "a", "timestamp": 1.0, "row": 2}
        assert report["dropped"]["duplicates"] == {"events": 1, "first": [row]}
        assert report["events_read"] == 13
        assert report["kept"] == {"users": 3, "items": 4, "events": 10}
        assert set(records.read_vocabulary(tmp_path / "examples").item_ids) == set("abcd")

    def test_bad_rows_are_reported(self, tmp_path):
        log = tmp_path / "log.csv"
        lines = [f"{user},{item},{at}" for user in "uv" for at, item in enumerate("abcd")]
        log.write_text("\n".join(["user_id,item_id,timestamp", *lines, "w,a,yesterday"]) + "\n")
        source = open_events(str(log))
        with pytest.raises(InputError, match="yesterday"):
            ingest.run_ingest(source, None, tmp_path / "examples", _config())
        assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]
        report = ingest.run_ingest(source, None, tmp_path / "examples", _config(), max_bad_rows=1)
        assert report["events_read"] == 8
        assert report["dropped"]["bad_rows"]["rows"] == 1
        (bad,) = report["dropped"]["bad_rows"]["reasons"].values()
        assert (bad["count"], bad["row"], bad["value"]) == (1, 9, "yesterday")


def _random_log(seed, num_users=40):
    """Users of 1 to 25 events, repeated items, many equal timestamps."""
    rng = np.random.default_rng(seed)
    return [
        (f"user {user}", f"i{rng.integers(30)}", int(rng.integers(6)))
        for user in range(num_users)
        for _ in range(rng.integers(1, 26))
    ]


def _expected_content(rows, max_history_length):
    """Leave-one-out in plain Python, in raw ids."""
    train, valid, test = [], [], []
    for user in sorted({row[0] for row in rows}):
        events = sorted((row[2], at, row[1]) for at, row in enumerate(rows) if row[0] == user)
        seen, items = set(), []
        for timestamp, _, item in events:
            if (timestamp, item) not in seen:
                seen.add((timestamp, item))
                items.append(item)
        if len(items) < 2:
            continue
        learnt = items
        if len(items) >= 3:
            learnt = items[:-2]
            valid.append((user, items[:-2], [items[-2]]))
            test.append((user, items[:-1], [items[-1]]))
        while len(learnt) >= 2:
            train.append(learnt[-max_history_length - 1 :])
            learnt = learnt[: max(len(learnt) - max_history_length, 0)]
    return sorted(train), valid, test


class TestRandomLog:
    @pytest.fixture
    def rows(self):
        return _random_log(seed=11)

    @pytest.mark.parametrize(
        ("num_shards", "batch_size", "shuffled"), [(1, 1000, False), (5, 7, True)]
    )
    def test_shards_and_arrival_do_not_change_the_examples(
        self, tmp_path, rows, num_shards, batch_size, shuffled
    ):
        order = np.random.default_rng(2).permutation(len(rows)) if shuffled else None
        source = MemorySource(rows, order=order, batch_size=batch_size)
        config = _config(f"ingest.num_shards={num_shards}", "model.max_history_length=6")
        ingest.run_ingest(source, None, tmp_path / "examples", config)
        assert _raw_content(tmp_path / "examples") == _expected_content(rows, 6)

    def test_files_hold_one_length_bucket_each_and_are_counted(self, tmp_path, rows):
        config = _config("model.max_history_length=10")
        ingest.run_ingest(MemorySource(rows), None, tmp_path / "examples", config)
        examples = tmp_path / "examples"
        statistics = _read_json(examples / "statistics.json")
        assert statistics["bucket_boundaries"] == [1, 2, 3, 4, 6, 8, 10]
        shortest = {1: 1, 2: 2, 3: 3, 4: 4, 6: 5, 8: 7, 10: 9}
        for bucket, fewest in shortest.items():
            found = _windows(examples, file_pattern=f"examples-{bucket:05d}-*")
            assert found
            assert all(fewest <= len(window) - 1 <= bucket for window in found)
        for split in ("train", "valid", "test"):
            folder = examples / f"Split-{split}"
            files = statistics["splits"][split]["files"]
            assert set(files) == {path.name for path in folder.iterdir()}
            assert files == {
                name: len(_decode(examples, split, file_pattern=name)) for name in files
            }
            assert statistics["splits"][split]["examples"] == sum(files.values())

    def test_no_held_out_event_in_a_training_window(self, tmp_path):
        # Every event has an item of its own, so that an id tells the event.
        rows = [(f"u{user}", f"u{user}-{at}", at) for user in range(12) for at in range(user + 1)]
        config = _config(
            "ingest.protocol=next_n", "ingest.num_targets=2", "model.max_history_length=3"
        )
        ingest.run_ingest(MemorySource(rows), None, tmp_path / "examples", config)
        train, valid, test = _raw_content(tmp_path / "examples")
        learnt = {item for window in train for item in window}
        held_out = {item for _, _, positives in valid + test for item in positives}
        assert len(valid) == len(test) == 8  # users of 5 to 12 events
        assert not learnt & held_out
        assert not {item for _, history, _ in valid for item in history} & held_out
        counted = records.read_vocabulary(tmp_path / "examples")
        unlearnt = {i for i, n in zip(counted.item_ids, counted.counts, strict=True) if n == 0}
        assert held_out <= unlearnt


def _usual_rows():
    return [(u, item, at) for u in ("u1", "u2", "u3") for at, item in enumerate("abcde")]


class TestFolder:
    def test_statistics(self, tmp_path):
        rows = [("u1", item, at) for at, item in enumerate("abcdef")]
        rows += [("u2", item, at) for at, item in enumerate("abc")] + [("u3", "a", 1)]
        rows += [("u4", "b", 1), ("u4", "a", 2)]
        ingest.run_ingest(MemorySource(rows), None, tmp_path / "examples", _config())
        statistics = _read_json(tmp_path / "examples" / "statistics.json")
        assert (statistics["num_users"], statistics["num_items"]) == (3, 6)
        assert statistics["num_events"] == 11
        # Users of 6, 3 and 2 events are kept.
        assert statistics["events_per_user"] == {"mean": 3.6667, "median": 3.0, "min": 2, "max": 6}
        assert statistics["training_only_users"] == 1
        assert statistics["unknowns"]["items_never_in_training"] == 2  # e, f
        splits = statistics["splits"]
        assert [splits[s]["events"] for s in ("train", "valid", "test")] == [7, 2, 2]
        assert [splits[s]["targets"] for s in ("train", "valid", "test")] == [4, 2, 2]
        assert [splits[s]["examples"] for s in ("train", "valid", "test")] == [2, 2, 2]

    def test_lengths_and_days_are_kept_for_the_report(self, tmp_path):
        """Two users of 3 and 2 clicks on two days; 0 is no time."""
        day_s = 86_400
        rows = [("u1", "a", 0), ("u1", "b", 19_675 * day_s), ("u1", "c", 19_676 * day_s - 1)]
        rows += [("u2", "a", 19_676 * day_s), ("u2", "b", 19_676 * day_s)]
        report = ingest.run_ingest(MemorySource(rows), None, tmp_path / "examples", _config())
        assert report["clicks_by_day"] == [[19_675, 2], [19_676, 2]]
        assert report["lines"] == ingest_report.report_lines(report)
        statistics = _read_json(tmp_path / "examples" / "statistics.json")
        assert statistics["lengths"] == [[2, 1], [3, 1]]

    def test_the_clock_is_one_of_the_events_that_stay(self, tmp_path):
        """Of 100 days the last 30: the last tenth of their 30 hours is tested."""
        rows = [
            (f"u{user}", "abcdefg"[(day + user) % 7], (19_000 + day) * 86_400 + user)
            for day in range(100)
            for user in range(3)
        ]
        config = _config(
            "ingest.protocol=temporal",
            "ingest.max_age_days=29.5",
            "ingest.valid_share=0.1",
            "ingest.test_share=0.1",
        )
        report = ingest.run_ingest(MemorySource(rows), None, tmp_path / "examples", config)
        assert report["kept"]["events"] == 30 * 3
        statistics = _read_json(tmp_path / "examples" / "statistics.json")
        assert statistics["splits"]["test"]["events"] == 3 * 3

    @pytest.mark.parametrize("setting", ["max_age_days", "session_gap_minutes"])
    def test_ages_and_gaps_need_times(self, tmp_path, setting):
        source = MemorySource(_usual_rows())
        source.columns = source.columns._replace(timestamp="none")
        with pytest.raises(InputError, match=rf"without times, which ingest\.{setting} needs"):
            ingest.run_ingest(source, None, tmp_path / "x", _config(f"ingest.{setting}=5"))

    def test_a_log_without_times_has_no_days(self, tmp_path):
        report = ingest.run_ingest(
            MemorySource(_usual_rows()), None, tmp_path / "examples", _config()
        )
        assert report["clicks_by_day"] == []

    def test_schema_names_the_features_of_the_model(self, tmp_path):
        ingest.run_ingest(MemorySource(_usual_rows()), None, tmp_path / "examples", _config())
        text = (tmp_path / "examples" / schema.SCHEMA_NAME).read_text()
        written = text_format.Parse(text, schema_pb2.Schema())
        by_name = {feature.name: feature for feature in written.feature}
        assert set(by_name) == {
            features.ITEM_IDS,
            features.USER_ID,
            features.HISTORY,
            features.POSITIVES,
            features.NUM_TRAINED,
        }
        item_ids = by_name["item_ids"]
        assert (item_ids.value_count.min, item_ids.value_count.max) == (2, 51)
        assert (item_ids.int_domain.min, item_ids.int_domain.max) == (2, 6)  # 5 items
        assert list(written.default_environment) == ["train", "valid", "test"]
        assert list(item_ids.not_in_environment) == ["valid", "test"]
        assert by_name["positives"].value_count.max == 1
        assert list(by_name["user_id"].not_in_environment) == ["train"]

    def test_items_file(self, tmp_path):
        items = tmp_path / "items.csv"
        items.write_text("item_id,category,title\na,x|y,Ant\nc,,\nzebra,z,Zebra\n")
        report = ingest.run_ingest(
            MemorySource(_usual_rows()), str(items), tmp_path / "examples", _config()
        )
        vocabulary = records.read_vocabulary(tmp_path / "examples")
        assert vocabulary.item_ids == tuple("abcde")
        assert vocabulary.categories == (("x", "y"), (), (), (), ())
        assert vocabulary.titles == ("Ant", "", "", "", "")
        assert report["items_file"] == {"items": 3, "matched": 2}

    def test_nothing_else_is_left(self, tmp_path):
        ingest.run_ingest(MemorySource(_usual_rows()), None, tmp_path / "examples", _config())
        assert sorted(path.name for path in tmp_path.iterdir()) == ["examples"]
        assert sorted(path.name for path in (tmp_path / "examples").iterdir()) == [
            "Split-test",
            "Split-train",
            "Split-valid",
            "artifact.json",
            "event_schema.pbtxt",
            "event_statistics",
            "ingest_report.json",
            "schema.pbtxt",
            "statistics.json",
            "vocabulary.parquet",
        ]

    def test_is_done_once_again_on_a_change_and_never_over_another_log(self, tmp_path):
        output, source = tmp_path / "examples", MemorySource(_usual_rows())
        report = ingest.run_ingest(source, None, output, _config())
        made = (output / "statistics.json").stat().st_mtime_ns
        assert ingest.run_ingest(source, None, output, _config()) == report
        assert (output / "statistics.json").stat().st_mtime_ns == made
        assert records.is_current(output, ingest.ingest_record(source, None, _config()))

        changed = _config("ingest.min_user_events=3")
        ingest.run_ingest(source, None, output, changed)
        assert (output / "statistics.json").stat().st_mtime_ns > made

        other = MemorySource(_usual_rows()[:-1])
        with pytest.raises(InputError, match="belongs to another dataset"):
            ingest.run_ingest(other, None, output, changed)
        report = ingest.run_ingest(other, None, output, changed, overwrite=True)
        assert report["events_read"] == 14

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_never_over_what_it_did_not_make(self, tmp_path, overwrite):
        source, mine = MemorySource(_usual_rows()), tmp_path / "precious.txt"
        mine.write_text("mine")
        for output, message in ((tmp_path, "was not made by"), (mine, "is a file")):
            with pytest.raises(InputError, match=message):
                ingest.run_ingest(source, None, output, _config(), overwrite=overwrite)
        assert mine.read_text() == "mine"

    def test_a_crash_leaves_the_old_examples_and_nothing_else(self, tmp_path):
        class Crashing(MemorySource):
            def read_batches(self, max_bad_rows=0):
                yield from super().read_batches(max_bad_rows)
                raise OSError("the disk went away")

        rows, output = _usual_rows(), tmp_path / "examples"
        ingest.run_ingest(MemorySource(rows), None, output, _config())
        before = storage.sha256_of_tree(output)
        with pytest.raises(Exception, match="the disk went away"):
            ingest.run_ingest(Crashing(rows), None, output, _config("ingest.min_user_events=3"))
        assert storage.sha256_of_tree(output) == before
        assert [path.name for path in tmp_path.iterdir()] == ["examples"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("rows", "assignments", "message"),
        [
            ([], [], "memory has no events"),
            (_ONE_BY_ONE, [], "events of one user only"),
            ([("u1", "a", 1), ("u2", "b", 1)], [], "0 users are left .*min_user_events"),
            (_usual_rows(), ["ingest.min_item_events=9"], "0 users are left .*min_item_events"),
            ([("u1", "a", 1), ("u1", "b", 2), ("u2", "b", 1)], [], "1 users are left"),
            (
                [(u, i, t) for u in "uv" for t, i in enumerate("ab")],
                [],
                "too short for protocol leave_one_out: it needs 3 events of a user, the longest "
                "has 2",
            ),
            (
                _usual_rows(),
                ["ingest.protocol=next_n"],
                "needs 11 events of a user, the longest has 5. Lower ingest.num_targets",
            ),
            ([(u, i, t) for u in "uv" for t, i in enumerate("abc")], [], "nothing to learn from"),
            (_usual_rows(), ["ingest.protocol=provided"], "no split column"),
            (
                [(*row, "train" if row[2] < 4 else "later") for row in _usual_rows()],
                ["ingest.protocol=provided"],
                "Row 4 of the log has split 'later'",
            ),
            (
                [(*row, "train" if row[2] < 4 else "test") for row in _usual_rows()],
                ["ingest.protocol=provided"],
                "no event has split 'valid'",
            ),
            (
                [
                    (*row, ("valid", "train", "train", "train", "test")[row[2]])
                    for row in _usual_rows()
                ],
                ["ingest.protocol=provided"],
                "every event with split 'valid' is the first of its user",
            ),
        ],
    )
    def test_ends_with_one_line_and_leaves_nothing(self, tmp_path, rows, assignments, message):
        with pytest.raises(InputError, match=message) as caught:
            ingest.run_ingest(
                MemorySource(rows), None, tmp_path / "examples", _config(*assignments)
            )
        assert "\n" not in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_missing_items_file(self, tmp_path):
        with pytest.raises(InputError, match=r"items\.csv"):
            ingest.run_ingest(
                MemorySource(_usual_rows()), str(tmp_path / "items.csv"), tmp_path / "x", _config()
            )


class TestBeamArgs:
    def test_reach_the_options_of_the_named_runner(self, tmp_path, monkeypatch):
        (tmp_path / "recording_runner.py").write_text(
            textwrap.dedent("""
                from apache_beam.runners.portability.fn_api_runner import FnApiRunner

                class RecordingRunner(FnApiRunner):
                    seen = []

                    def run_pipeline(self, pipeline, options):
                        self.seen.append(options.get_all_options(retain_unknown_options=True))
                        return super().run_pipeline(pipeline, options)
            """)
        )
        monkeypatch.syspath_prepend(tmp_path)
        beam_args = [
            "--runner=recording_runner.RecordingRunner",
            "--job_name=nightly",
            "--cluster_flag=7",
        ]
        ingest.run_ingest(
            MemorySource(_usual_rows()), None, tmp_path / "x", _config(), beam_args=beam_args
        )
        seen = sys.modules["recording_runner"].RecordingRunner.seen
        assert [(options["job_name"], options["cluster_flag"]) for options in seen] == [
            ("nightly", "7")
        ] * 4

    @pytest.mark.parametrize(
        ("beam_args", "message"),
        [
            (["--no_such_flag=3"], "Unknown flag --no_such_flag"),
            (["--direct_num_workers=many"], "direct_num_workers: invalid int value"),
            (["--runner=NoSuchRunner"], "has no runner 'NoSuchRunner'"),
        ],
    )
    def test_mistakes_are_one_line(self, tmp_path, beam_args, message):
        with pytest.raises(InputError, match=message):
            ingest.run_ingest(
                MemorySource(_usual_rows()), None, tmp_path / "x", _config(), beam_args=beam_args
            )
        assert list(tmp_path.iterdir()) == []

    def test_threads_give_the_same_examples(self, tmp_path):
        rows = _random_log(seed=4, num_users=15)
        threads = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
        ingest.run_ingest(MemorySource(rows), None, tmp_path / "x", _config(), beam_args=threads)
        assert _raw_content(tmp_path / "x") == _expected_content(rows, 50)

    def test_chains_are_linear_without_tagged_outputs(self, monkeypatch, tmp_path):
        # Beam's Dask runner silently drops branches and mixes tagged outputs.
        pipelines = []

        class Spy(beam.FnApiRunner):
            def run_pipeline(self, pipeline, options):
                pipelines.append(pipeline.to_runner_api())
                return super().run_pipeline(pipeline, options)

        monkeypatch.setattr(beam, "FnApiRunner", Spy)
        ingest.run_ingest(
            MemorySource(_usual_rows()),
            None,
            tmp_path / "x",
            _config(),
            beam_args=["--runner=DirectRunner"],
        )
        assert len(pipelines) == 4
        for proto in pipelines:
            steps = proto.components.transforms.values()
            # A step that hands on its input is a no-op of Beam's own.
            leaves = [t for t in steps if not t.subtransforms and t.inputs != t.outputs]
            consumed = [value for leaf in leaves for value in leaf.inputs.values()]
            assert len(consumed) == len(set(consumed))
            assert all(len(leaf.outputs) <= 1 for leaf in leaves)


@pytest.mark.slow
def test_a_million_events_in_a_minute(tmp_path):
    data = os.environ.get("RECALL_DATA_DIR")
    if not data or not (Path(data) / "ml-1m").is_dir():
        pytest.skip("RECALL_DATA_DIR does not name a folder with ml-1m")
    source = open_events(str(Path(data) / "ml-1m" / "events.csv.gz"))
    start_s = time.monotonic()
    report = ingest.run_ingest(source, None, tmp_path / "examples", RecallConfig())
    assert time.monotonic() - start_s < 60  # about 8 s of CPU time
    assert report["kept"] == {"users": 6040, "items": 3416, "events": 999_611}
