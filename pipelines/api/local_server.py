"""A server of a release in a process of its own, for as long as a caller wants it."""

import atexit
import re
import subprocess
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.api import paths
from pipelines.processes import jobs
from serving.api.client import Client
from serving.release import release as releases

_READY = re.compile(r"serving grpc=(\S+) http=(\S+)")


class LocalServer:
    """A running `recall serve`; ends with its block, by `stop`, or with this process.

    Attributes:
        address: `host:port` of its gRPC door.
        http_address: `http://host:port` of its HTTP door.
    """

    def __init__(self, release_dir: Path | str, flags: Mapping[str, Any]):
        """Starts it and waits until it is ready.

        Raises:
            InputError: It does not start; the text says why.
        """
        words = ["serve", f"--release={release_dir}"]
        words += [f"--{name}={value}" for name, value in flags.items()]
        # A group of its own: Ctrl-C in the caller's terminal is no word to the server.
        self._process = jobs.start(words, stderr=subprocess.PIPE, start_new_session=True)
        atexit.register(self.stop)
        self._last: deque[str] = deque(maxlen=jobs.LAST_LINES)
        self._readers = [threading.Thread(target=self._read_log, daemon=True)]
        self._readers[0].start()
        match = next(filter(None, map(_READY.match, self._process.stdout)), None)
        if match is None:
            code = self._process.wait()
            self._readers[0].join()
            self._close()
            raise jobs.failure("serve", code, self._last)
        self.address, http = match.groups()
        self.http_address = f"http://{http}"

    def client(self, **options: Any) -> Client:
        """A client of it over gRPC; arguments as `recall.Client`."""
        return Client(self.address, **options)

    def stop(self) -> None:
        """Ends it; requests in work are answered first."""
        atexit.unregister(self.stop)
        if self._process.poll() is None:
            self._process.terminate()
        jobs.end(self._process)
        for reader in self._readers:
            reader.join()
        self._close()

    def _read_log(self) -> None:
        for line in self._process.stderr:
            self._last.append(line)

    def _close(self) -> None:
        for stream in (self._process.stdout, self._process.stderr):
            stream.close()

    def __repr__(self) -> str:
        state = "stopped" if self._process.poll() is not None else self.address
        return f"LocalServer({state}, {self.http_address})"

    def __enter__(self) -> "LocalServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(release: Any, *, grpc_port: int = 0, http_port: int = 0, **flags: Any) -> LocalServer:
    """Serves a release from a process of its own, on this machine.

    Args:
        release: A `Run` or a `Recommender`, or the path of a run or of a folder of releases,
            also the URL of one in an object store.
        grpc_port: Its gRPC port; 0 takes a free one.
        http_port: Its HTTP port; 0 takes a free one.
        **flags: Other flags of `recall serve`, as `access_log="text"`.

    Returns:
        The running server, which is a context manager.

    Raises:
        InputError: There is no release, or a port cannot be had.

    Example:
        with recall.serve(run) as server, server.client() as client:
            client.recommend(["12", "57"])
    """
    folder = paths.read_releases("release", getattr(release, "serving_dir", release))
    flags = {"grpc_port": grpc_port, "http_port": http_port, **flags}
    if isinstance(folder, str):
        return LocalServer(folder, flags)
    inner = folder / "serving"
    folder = inner if inner.is_dir() and not (folder / releases.USER_TOWER).is_dir() else folder
    releases.latest_release(folder)
    return LocalServer(folder, flags)
