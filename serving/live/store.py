"""Live changes of items on disk: one SQLite file beside the versions of a release.

Imports no TensorFlow. The file holds the newest change of every item that ever
changed, by raw id, so that it outlives versions and its size is bounded by the
number of such items. What `append` returned from survives a killed process and
a power cut.
"""

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recall.errors import InputError
from serving.protocol.status import Code, ServingError
from serving.release.storage import fsync_path

STORE_NAME = "live_items.sqlite"
"""In the folder of the releases, outside of their versions."""

FORMAT = 1
"""SQLite's `user_version`; raised when old software could not read the file."""

_BUSY_S = 5.0
"""Longest wait for another process that writes; a write takes milliseconds."""

_SWITCH_PAUSE_S = 0.005
"""Pause before a new file is asked for its write-ahead log again."""

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS changes (
    item_id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    is_deleted INTEGER NOT NULL,
    categories TEXT,
    title TEXT,
    vector BLOB,
    fingerprint TEXT NOT NULL,
    features TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS changes_by_sequence ON changes (sequence);
PRAGMA user_version = {FORMAT};
COMMIT;
"""

_COLUMNS = "item_id, is_deleted, categories, title, vector, fingerprint, features"


class ItemChange(NamedTuple):
    """The newest thing that was said about an item.

    Attributes:
        item_id: Raw id.
        is_deleted: Whether the item is out of the catalogue; the other fields
            then mean nothing.
        categories: None keeps those the release knows.
        title: None keeps the one the release knows.
        vector: `[dim]` float32 the caller gave, None to have it computed.
        fingerprint: Embedding space of `vector`, "" without one.
        features: Name -> value, as JSON holds them; None says nothing of them.
    """

    item_id: str
    is_deleted: bool = False
    categories: tuple[str, ...] | None = None
    title: str | None = None
    vector: np.ndarray | None = None
    fingerprint: str = ""
    features: dict[str, Any] | None = None


class ItemStore:
    """Appends and reads changes; safe to use from several threads and processes."""

    def __init__(self, serving_dir: str | os.PathLike):
        """Opens the store of a folder of releases; nothing is written yet.

        Raises:
            InputError: There is a store that cannot be read, or is of another
                format.
        """
        self.path = Path(serving_dir) / STORE_NAME
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._data_version: int | None = None
        if self.path.exists():
            try:
                self._connect()
            except sqlite3.Error as error:
                raise InputError(
                    f"Cannot read {self.path}: {error}. Move the file away to start without "
                    "live changes, or restore it from a backup."
                ) from error

    def append(self, changes: Sequence[ItemChange]) -> int:
        """Writes changes durably, all or none; later ones win.

        Returns:
            Their sequence number, higher than every one before.

        Raises:
            ServingError: UNAVAILABLE, the file cannot be written; nothing
                changed then.
        """
        rows = [_to_row(change) for change in changes]
        try:
            with self._lock:
                connection = self._connect()
                with _transaction(connection):
                    sequence = _last_sequence(connection) + 1
                    connection.executemany(
                        f"INSERT OR REPLACE INTO changes (sequence, {_COLUMNS}) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        [(sequence, *row) for row in rows],
                    )
                return sequence
        except (sqlite3.Error, OSError) as error:
            raise ServingError(
                Code.UNAVAILABLE, f"Nothing was changed: cannot write {self.path.name} ({error})."
            ) from error

    def read_since(self, sequence: int) -> tuple[list[ItemChange], int]:
        """Changes after a sequence number, oldest first, each item once.

        Returns:
            The changes, and the highest sequence number of the store.

        Raises:
            ServingError: UNAVAILABLE, the file cannot be read.
        """
        try:
            with self._lock:
                if self._connection is None and not self.path.exists():
                    return [], 0
                connection = self._connect()
                with _transaction(connection, "BEGIN"):
                    rows = connection.execute(
                        f"SELECT {_COLUMNS} FROM changes WHERE sequence > ? "
                        "ORDER BY sequence, item_id",
                        (sequence,),
                    ).fetchall()
                    return [_from_row(row) for row in rows], _last_sequence(connection)
        except sqlite3.Error as error:
            raise ServingError(
                Code.UNAVAILABLE, f"Cannot read {self.path.name} ({error})."
            ) from error

    def count(self) -> tuple[int, int]:
        """Items whose newest change is an upsert, and a deletion."""
        with self._lock:
            if self._connection is None:
                return 0, 0
            deleted, total = self._connection.execute(
                "SELECT coalesce(sum(is_deleted), 0), count(*) FROM changes"
            ).fetchone()
            return total - deleted, deleted

    def changed_elsewhere(self) -> bool:
        """Whether another process wrote since the last time this was asked; microseconds."""
        with self._lock:
            if self._connection is None:
                if not self.path.exists():
                    return False
                self._connect()
            (found,) = self._connection.execute("PRAGMA data_version").fetchone()
            changed, self._data_version = found != self._data_version, found
            return changed

    def close(self) -> None:
        """Closes the file; a later call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connect(self) -> sqlite3.Connection:
        """The connection, made at the first use; call it under the lock."""
        if self._connection is not None:
            return self._connection
        is_new = not self.path.exists()
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, self.path)
            if is_new:
                fsync_path(self.path.parent)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Makes writes durable and the table exist."""
    _switch_to_wal(connection)
    # FULL: a commit returns when the log is on the disk; NORMAL would lose
    # acknowledged changes in a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == 0:
        connection.executescript(_SCHEMA)
    elif found != FORMAT:
        raise InputError(
            f"{path} has format {found}; this version reads format {FORMAT}. Use the version of "
            "the software that wrote it."
        )
    _add_features(connection)


def _add_features(connection: sqlite3.Connection) -> None:
    """Adds the column that files of earlier versions lack, and which these pass over."""
    if _has_features(connection):
        return
    with _transaction(connection):
        if not _has_features(connection):  # Another process may have come first.
            connection.execute("ALTER TABLE changes ADD COLUMN features TEXT")


def _has_features(connection: sqlite3.Connection) -> bool:
    columns = connection.execute("PRAGMA table_info(changes)").fetchall()
    return any(column[1] == "features" for column in columns)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """SQLite waits for no lock here, but refuses at once: two first writers of a new file meet."""
    deadline_s = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # The text of SQLITE_BUSY; Python 3.10 does not tell the number.
            if "locked" not in str(error) or time.monotonic() >= deadline_s:
                raise
        time.sleep(_SWITCH_PAUSE_S)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _last_sequence(connection: sqlite3.Connection) -> int:
    # The newest change is never replaced by an older one, so the maximum grows.
    (highest,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM changes").fetchone()
    return highest


def _to_row(change: ItemChange) -> tuple:
    categories = None if change.categories is None else json.dumps(change.categories)
    vector = None if change.vector is None else change.vector.astype("<f4").tobytes()
    features = None if change.features is None else json.dumps(change.features)
    flag = int(change.is_deleted)
    return change.item_id, flag, categories, change.title, vector, change.fingerprint, features


def _from_row(row: tuple) -> ItemChange:
    item_id, is_deleted, categories, title, vector, fingerprint, features = row
    return ItemChange(
        item_id,
        bool(is_deleted),
        None if categories is None else tuple(json.loads(categories)),
        title,
        None if vector is None else np.frombuffer(vector, "<f4").astype(np.float32),
        fingerprint,
        None if features is None else json.loads(features),
    )
