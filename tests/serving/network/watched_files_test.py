"""Files that are replaced while the server runs."""

import logging
import os
import threading

import pytest

from recall.errors import InputError
from serving.doors.admin import AdminGuard, watched_token
from serving.network.watched_files import FileWatch, WatchedFiles
from serving.protocol.status import ServingError
from tests.waiting import wait_for

FIRST, SECOND = "first-token-0123456789", "second-token-0123456789"


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text(FIRST)
    return path


def _replace(path, text):
    """As careful people do it: another file under the name."""
    new = path.with_name("new")
    new.write_text(text)
    os.replace(new, path)


def test_a_new_token_counts_and_the_old_one_no_more(token):
    watched = watched_token(token)
    guard = AdminGuard(lambda: watched.content)
    guard.check(f"Bearer {FIRST}")
    _replace(token, SECOND)
    watched.refresh()
    guard.check(f"Bearer {SECOND}")
    with pytest.raises(ServingError, match="not the server's"):
        guard.check(f"Bearer {FIRST}")


@pytest.mark.parametrize("broken", ["short", "", "\x00" * 40, None])
def test_a_broken_file_keeps_the_old_content_and_is_said_once(token, broken, caplog):
    caplog.set_level(logging.INFO)
    watched = watched_token(token)
    if broken is None:
        token.unlink()
    else:
        _replace(token, broken)
    for _ in range(5):
        watched.refresh()
    assert watched.content == FIRST
    (message,) = caplog.messages
    assert message.startswith("Kept the admin token as before: ")
    assert FIRST not in message
    _replace(token, SECOND)
    watched.refresh()
    assert watched.content == SECOND
    assert caplog.messages[1:] == ["Read the admin token again."]


def test_nothing_is_read_while_nothing_changed(tmp_path):
    path, reads = tmp_path / "file", []
    path.write_text("a")
    watched = WatchedFiles([path], lambda: reads.append(path.read_text()), what="it")
    for _ in range(3):
        watched.refresh()
    assert reads == ["a"]
    watched.refresh(force=True)
    assert reads == ["a", "a"]


def test_a_link_to_another_folder_is_a_change(tmp_path):
    """So Kubernetes rotates secrets: `file -> ..data/file`, `..data -> a folder of the moment`."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "data").symlink_to("one")
    (tmp_path / "file").symlink_to("data/file")
    path = tmp_path / "file"
    watched = WatchedFiles([path], path.read_text, what="it")
    (tmp_path / "new").symlink_to("two")
    os.replace(tmp_path / "new", tmp_path / "data")
    watched.refresh()
    assert watched.content == "two"


def test_the_first_content_must_work(token):
    token.write_text("short")
    with pytest.raises(InputError, match="must hold one token"):
        watched_token(token)


def test_the_thread_finds_changes_and_reads_at_once_when_told(token):
    before = set(threading.enumerate())  # Servers of other tests watch files too.
    watched = watched_token(token)
    watch = FileWatch([watched], poll_s=0.01)
    watch.start()
    try:
        _replace(token, SECOND)
        wait_for(lambda: watched.content == SECOND)
    finally:
        watch.stop()
    forced = []

    class Told:
        def refresh(self, *, force=False):
            forced.append(force)

    class Broken:
        def refresh(self, *, force=False):
            raise RuntimeError("broken")

    watch = FileWatch([Broken(), Told()], poll_s=60.0)
    watch.start()
    try:
        watch.read_now()
        wait_for(lambda: forced == [True])
    finally:
        watch.stop()
    started = set(threading.enumerate()) - before
    assert not any(thread.name == "file-watch" for thread in started)
