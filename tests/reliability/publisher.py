"""A publisher that dies, or whose disk fills, at a chosen point; run as a process.

`python -m tests.reliability.publisher RUN SERVING` publishes again and again
and prints a line of JSON per point. Every time a forked child publishes the
run and is killed at the next write, rename or flush to disk, until one child
lives to its end.
"""

import contextlib
import errno
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.publishing import push
from recall.errors import InputError
from serving.release import release

KEEP = 2
"""Versions every publication leaves, so that each of them removes one."""

KILLED = "killed"
"""In the place of an error."""

_AUDITED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.truncate"}
"""Events by which Python tells of changes of a file system, before they happen."""


class Points:
    """Counts changes of the disk and acts at one of them.

    Attributes:
        acted: Whether that one was reached.
    """

    def __init__(self, chosen: int, act: Callable[[], None]):
        self.acted = False
        self._left = chosen
        self._act = act

    def install(self) -> None:
        """Watches this process from now on; there is no way back."""
        sys.addaudithook(self._hear)
        for module, name in ((os, "fsync"), (os, "sendfile"), (os, "replace")):
            self._wrap(module, name)

    def pass_one(self) -> None:
        """Counts one point."""
        self._left -= 1
        if self._left == 0:
            self.acted = True
            self._act()

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _AUDITED:
            return
        if event == "open" and not _opens_for_writing(arguments):
            return
        self.pass_one()

    def _wrap(self, module: Any, name: str) -> None:
        """Counts before and after a function, which is inside of no audited event."""
        function = getattr(module, name)

        def counted(*arguments: Any) -> Any:
            self.pass_one()
            if name == "sendfile":  # Half a file is on the disk at the next point.
                output, source, offset, size = arguments
                arguments = (output, source, offset, max(1, min(size, 1 << 20) // 2))
            result = function(*arguments)
            self.pass_one()
            return result

        setattr(module, name, counted)


def _opens_for_writing(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))


def publish_in_child(run_dir: Path, serving_dir: Path, points: Points) -> tuple[bool, str]:
    """Publishes in a forked child; returns whether something happened to it, and its error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        text = ""
        try:
            points.install()
            push.run_push(run_dir, serving_dir, keep=KEEP)
        except InputError as error:
            text = f"InputError: {error}"
        except BaseException as error:
            text = repr(error)
        finally:
            os.write(writer, json.dumps([points.acted, text]).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else (True, KILLED)


def describe(serving_dir: Path) -> dict[str, Any]:
    """What a reader finds: the newest release, whole or not, and every visible version."""
    with contextlib.suppress(InputError):
        newest = release.latest_release(serving_dir)
        release.verify(newest)
        for version in release.complete_versions(serving_dir):
            release.verify(release.read_release(serving_dir, version))
        return {
            "version": newest.version,
            "parts": [release.list_versions(serving_dir / part) for part in release.PARTS],
        }
    return {"version": None}


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_ACTS = {"kill": _kill_self, "full": _no_space}


def main(run: str, serving: str, how: str) -> None:
    """Publishes at every point; stops after the first child that nothing happened to."""
    run_dir, template = Path(run), Path(serving)
    work = template.with_name("work")
    chosen = 0
    while True:
        chosen += 1
        shutil.copytree(template, work)
        acted, text = publish_in_child(run_dir, work, Points(chosen, _ACTS[how]))
        found = describe(work)
        # The next publisher finds whatever the dead one left.
        next_version = push.run_push(run_dir, work, keep=KEEP)
        facts = {
            "point": chosen,
            "acted": acted,
            "text": text,
            "after": found,
            "next": {**describe(work), "pushed": next_version},
            "leftovers": sorted(p.name for p in work.rglob(".*") if p.is_dir()),
        }
        print(json.dumps(facts), flush=True)
        shutil.rmtree(work)
        if not acted:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
