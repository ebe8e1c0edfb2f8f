"""Durability and order of live changes, on real files and with real processes."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from recall.errors import InputError
from serving.live.store import STORE_NAME, ItemChange, ItemStore
from serving.protocol.status import Code, ServingError

ROOT = Path(__file__).parents[3]
VECTOR = np.array([0.1, -2.5, 3e-30], np.float32)


def upsert(item_id, **fields):
    return ItemChange(item_id, **fields)


def same(left, right):
    """Equality of changes; arrays have no plain one."""
    plain = left._replace(vector=None) == right._replace(vector=None)
    return plain and np.array_equal(left.vector, right.vector)


@pytest.fixture
def store(tmp_path):
    store = ItemStore(tmp_path)
    yield store
    store.close()


def test_what_is_written_is_read(store):
    changes = [
        upsert("a", categories=("x", "y|z"), title="Žluť", vector=VECTOR, fingerprint="f"),
        upsert("b", categories=()),
        ItemChange("c", is_deleted=True),
        upsert("d"),
    ]
    assert store.append(changes) == 1
    found, last = store.read_since(0)
    assert last == 1
    assert all(same(*pair) for pair in zip(found, changes, strict=True))


def test_the_newest_change_of_an_item_wins(store):
    store.append([upsert("a", title="1"), upsert("b")])
    store.append([ItemChange("a", is_deleted=True)])
    assert [(c.item_id, c.is_deleted) for c in store.read_since(0)[0]] == [("b", 0), ("a", 1)]
    store.append([upsert("a", title="2"), upsert("a", title="3")])
    assert [(c.item_id, c.title) for c in store.read_since(0)[0]] == [("b", None), ("a", "3")]
    assert store.count() == (2, 0)


def test_reading_goes_on_after_a_sequence_number(store):
    first = store.append([upsert("a")])
    second = store.append([upsert("b")])
    assert [c.item_id for c in store.read_since(first)[0]] == ["b"]
    assert store.read_since(second) == ([], 2)


def test_nothing_is_made_before_the_first_write(store, tmp_path):
    assert store.read_since(0) == ([], 0)
    assert not store.changed_elsewhere()
    assert store.count() == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_it_survives_closing(tmp_path):
    for number in range(3):
        store = ItemStore(tmp_path)
        assert store.append([upsert(str(number))]) == number + 1
        store.close()
    assert len(ItemStore(tmp_path).read_since(0)[0]) == 3


def test_commits_wait_for_the_disk(store, tmp_path):
    store.append([upsert("a")])
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_another_process_is_noticed(store, tmp_path):
    other = ItemStore(tmp_path)
    store.append([upsert("a")])
    store.changed_elsewhere()
    assert not store.changed_elsewhere()
    store.append([upsert("b")])
    assert not store.changed_elsewhere()  # Its own writes are known.
    other.append([upsert("c")])
    assert store.changed_elsewhere()
    assert not store.changed_elsewhere()
    other.close()


def test_a_store_made_by_another_process_is_noticed(store, tmp_path):
    other = ItemStore(tmp_path)
    other.append([upsert("a")])
    assert store.changed_elsewhere()
    assert [c.item_id for c in store.read_since(0)[0]] == ["a"]
    other.close()


def test_threads_and_connections_write_in_one_order(tmp_path):
    stores = [ItemStore(tmp_path) for _ in range(3)]
    sequences = []

    def write(number):
        for step in range(20):
            sequences.append(stores[number % 3].append([upsert(f"{number}-{step}")]))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sequences) == list(range(1, 121))
    assert len(stores[0].read_since(0)[0]) == 120
    for store in stores:
        store.close()


def test_first_writers_of_a_new_file_wait_for_each_other(tmp_path):
    results = []

    def write(store, barrier):
        barrier.wait()
        results.append(store.append([upsert("a")]))

    for round_number in range(40):  # Without waiting some of these are refused.
        folder = tmp_path / str(round_number)
        folder.mkdir()
        stores, barrier = [ItemStore(folder) for _ in range(6)], threading.Barrier(6)
        threads = [threading.Thread(target=write, args=(store, barrier)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for store in stores:
            store.close()
    assert sorted(results) == sorted([*range(1, 7)] * 40)


def test_a_failed_write_changes_nothing(store, tmp_path):
    store.append([upsert("a")])
    store._connection.execute("PRAGMA max_page_count = 1")  # The disk is full.
    with pytest.raises(ServingError, match="Nothing was changed: cannot write") as caught:
        store.append([upsert(f"{i}", title="x" * 5000) for i in range(50)])
    assert caught.value.code == Code.UNAVAILABLE
    store._connection.execute("PRAGMA max_page_count = 100000")
    assert [c.item_id for c in store.read_since(0)[0]] == ["a"]
    assert store.append([upsert("b")]) == 2


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / STORE_NAME).write_bytes(b"x" * 4096)
    with pytest.raises(InputError, match=r"file is not a database\. Move the file away"):
        ItemStore(tmp_path)


def test_a_file_of_another_format(tmp_path):
    connection = sqlite3.connect(tmp_path / STORE_NAME)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(InputError, match="has format 7; this version reads format 1"):
        ItemStore(tmp_path)


WRITER = """
import sys
from serving.live.store import ItemChange, ItemStore
store, number = ItemStore(sys.argv[1]), 0
while True:
    store.append([ItemChange(f"{sys.argv[2]}-{number}", title="x" * 200)])
    print(number, flush=True)
    number += 1
"""


def test_no_acknowledged_write_is_lost_by_kill_9(tmp_path):
    """20 writers, each killed after a few acknowledgements."""
    acknowledged = set()
    for run in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(run)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(1 + run):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        # Whatever reached the pipe was acknowledged, also after the last read.
        rest = process.communicate()[0].split()
        acknowledged |= {f"{run}-{number}" for number in range(1 + run + len(rest))}
    store = ItemStore(tmp_path)
    found = {change.item_id for change in store.read_since(0)[0]}
    store.close()
    assert len(acknowledged) >= sum(range(1, 21))
    assert acknowledged <= found
    assert len(found - acknowledged) <= 20  # At most one per kill was not printed yet.


def test_a_file_of_an_earlier_version_gets_the_column_of_features(tmp_path):
    with sqlite3.connect(tmp_path / STORE_NAME) as connection:
        connection.executescript(
            """
            CREATE TABLE changes (item_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL,
                is_deleted INTEGER NOT NULL, categories TEXT, title TEXT, vector BLOB,
                fingerprint TEXT NOT NULL) WITHOUT ROWID;
            INSERT INTO changes VALUES ('old', 1, 0, '["red"]', 'Old', NULL, '');
            PRAGMA user_version = 1;
            """
        )
    connection.close()
    store = ItemStore(tmp_path)
    new = ItemChange("new", features={"price": 2.5, "brand": ["a"]})
    assert store.append([new]) == 2
    changes, _ = store.read_since(0)
    store.close()
    assert changes == [ItemChange("old", categories=("red",), title="Old"), new]
    again = ItemStore(tmp_path)
    assert again.read_since(1)[0] == [new]
    again.close()
