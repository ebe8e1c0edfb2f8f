"""The serving process: a release, the models beside it, and both doors.

Doors open before the models are loaded, so that a port in use is known at
once and health checks see the loading; they close before models go.
"""

import contextlib
import dataclasses
import functools
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

from serving.doors.admin import AdminGuard
from serving.doors.admission import Admission
from serving.doors.backend import Backend
from serving.doors.byte_budget import ByteBudget
from serving.live.items import LiveItems
from serving.models.config import parse_config
from serving.models.manager import ModelManager
from serving.models.model_server import ModelServer
from serving.models.state_metrics import ItemStates, ModelStates
from serving.monitoring.access_log import RequestLog
from serving.monitoring.metrics import Metrics
from serving.monitoring.telemetry import SpanSender
from serving.network import addresses
from serving.network.watched_files import FileWatch
from serving.servables.loaded_release import load_release
from serving.servables.release_place import open_place
from serving.servables.release_source import RELEASE_MODELS, TOWERS
from serving.server_doors import SHUTDOWN_S, open_doors
from serving.server_options import ServerOptions
from serving.server_process import prepare_process
from serving.server_secrets import ServerSecrets
from serving.sharding.clients import ShardClients
from serving.sharding.items import ShardedItems

_SIGNALS_S = 0.5
"""Between looks of the waiting main thread at signals.

Python runs handlers in the main thread alone. A signal that comes just before that thread
blocks, or that the kernel gives to another thread while one is pending, wakes nobody.
"""


class RecallServer:
    """Serves the newest release of a folder until it is stopped.

    Attributes:
        model_server: The models and their states.
    """

    def __init__(
        self,
        release_dir: str | os.PathLike,
        options: ServerOptions | None = None,
        **changes: Any,
    ):
        """Finds the release and binds both ports; serves nothing yet.

        Args:
            release_dir: Folder with `user_tower/`, `item_tower/`, `index/`, or the URL of one
                in an object store.
            options: How it is served.
            **changes: Single options, by name.

        Raises:
            InputError: There is no release, a port cannot be had, or the
                certificates do not work.
        """
        self._options = dataclasses.replace(options or ServerOptions(), **changes)
        self._place = open_place(release_dir, self._options.release_cache)
        self.model_server = ModelServer()
        # Refuses files that do not work, before anything is loaded.
        self._secrets = ServerSecrets.read(self._options)
        self._files = FileWatch(self._secrets.watched())
        with contextlib.ExitStack() as undo:
            self._items = self._open_items()
            undo.callback(self._items.close)
            self._spans = self._open_spans()
            if self._spans is not None:
                undo.callback(self._spans.close)
            metrics = Metrics()
            self._manager = self._build_manager(metrics)
            self._backend = self._build_backend(metrics)
            self._doors = open_doors(self._backend, self._options, self._secrets.doors)
            undo.pop_all()
        self._reachable_host = addresses.reachable_host(self._options.host)

    @property
    def grpc_port(self) -> int:
        """Port of the gRPC door, also when 0 was asked for."""
        return self._doors.grpc_port

    @property
    def http_port(self) -> int:
        """As `grpc_port`."""
        return self._doors.http_port

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC door, as reached from this machine."""
        return addresses.join(self._reachable_host, self.grpc_port)

    @property
    def http_address(self) -> str:
        """`host:port` of the HTTP door, as reached from this machine."""
        return addresses.join(self._reachable_host, self.http_port)

    def start(self) -> None:
        """Opens the doors and loads the models; returns when all are available.

        Raises:
            InputError: A file of the release is damaged, the models do not
                belong together, or TF Serving does not answer. Everything is
                stopped then.
        """
        try:
            self._files.start()
            with self.model_server.starting():
                self._doors.grpc.start()
                self._doors.http.start()
                self._manager.start()
            self._doors.health.set_serving(True)
            self._backend.heartbeat.start(self._doors.health.set_serving)
        except BaseException:
            self._stop(drain_s=0.0)
            raise

    def stop(self) -> None:
        """Reports not ready, lets running requests finish, closes the doors."""
        self._stop(drain_s=self._options.drain_s)

    def read_files_again(self) -> None:
        """Reads certificates and the admin token again soon."""
        self._files.read_now()

    def _stop(self, *, drain_s: float) -> None:
        self.model_server.drain()
        self._doors.health.drain()
        self._backend.heartbeat.stop()
        time.sleep(drain_s)
        grpc_stopped = self._doors.grpc.stop(SHUTDOWN_S)
        self._doors.http.stop()
        grpc_stopped.wait()
        self._files.stop()
        self._manager.stop(timeout_s=SHUTDOWN_S)
        self._items.close()
        if self._spans is not None:
            self._spans.close()

    def __enter__(self) -> "RecallServer":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _build_manager(self, metrics: Metrics) -> ModelManager:
        """What loads the models."""
        options = self._options
        names = RELEASE_MODELS
        if options.tf_serving_address is not None:
            names = tuple(name for name in names if name not in TOWERS)
        load = functools.partial(
            load_release,
            items=self._items,
            tf_serving_address=options.tf_serving_address,
            tf_serving_tls=self._secrets.tf_serving,
            batching=options.batching,
            limits=options.limits,
            metrics=metrics,
        )
        return ModelManager(
            self.model_server,
            self._place.source(names, load),
            metrics,
            options.config,
            newest_labels=options.version_labels,
            poll_s=options.poll_s,
        )

    def _build_backend(self, metrics: Metrics) -> Backend:
        """Puts together what is behind the doors."""
        options = self._options
        admin = AdminGuard(self._secrets.admin_token, open_without_token=options.is_local)
        listeners = () if self._spans is None else (self._spans,)
        requests = RequestLog(options.access_log, listeners)
        backend = Backend(
            self.model_server,
            metrics=metrics,
            admission=Admission(options.max_in_flight),
            budget=ByteBudget(options.max_request_bytes, options.max_total_bytes),
            admin=admin,
            requests=requests,
            reload=lambda message: self._manager.reload(parse_config(message, RELEASE_MODELS)),
        )
        metrics.register(ModelStates(self.model_server))
        if isinstance(self._items, LiveItems):  # Shards tell their own.
            metrics.register(ItemStates(self._items.status))
        return backend

    def _open_spans(self) -> SpanSender | None:
        """What sends spans, where somebody collects them."""
        endpoint = self._options.otlp_endpoint
        return SpanSender(endpoint) if endpoint else None

    def _open_items(self) -> LiveItems | ShardedItems:
        """One for all versions, so that a swap keeps every change."""
        if not self._options.shards:
            return LiveItems(self._place.folder)
        secrets = self._secrets
        clients = ShardClients(
            self._options.shards, admin_token=secrets.admin_token, tls=secrets.shards
        )
        return ShardedItems(clients)


def serve(
    release_dir: str | os.PathLike, options: ServerOptions | None = None, **changes: Any
) -> None:
    """Serves until SIGTERM or SIGINT; must run in the main thread.

    Prints `serving grpc=HOST:PORT http=HOST:PORT` when every model is available.
    A signal before that does what it did before the call: the process ends,
    for nothing is half done then. SIGHUP reads certificates and the token again.
    The arguments are those of `RecallServer`.

    Raises:
        InputError: The release cannot be served, or a port cannot be had.
    """
    prepare_process()
    stop_requested = threading.Event()
    server = RecallServer(release_dir, options, **changes)
    with _handled(server.read_files_again, signal.SIGHUP):
        _start_beside(server)
        with _handled(stop_requested.set, signal.SIGTERM, signal.SIGINT):
            try:
                print(f"serving grpc={server.grpc_address} http={server.http_address}", flush=True)
                while not stop_requested.wait(_SIGNALS_S):
                    pass
            finally:
                server.stop()


def _start_beside(server: RecallServer) -> None:
    """Starts a server in another thread: this one hears signals while models are loaded.

    Raises:
        InputError: See `RecallServer.start`.
    """
    started: futures.Future[None] = futures.Future()

    def start() -> None:
        try:
            server.start()
        except BaseException as error:
            started.set_exception(error)
        else:
            started.set_result(None)

    threading.Thread(target=start, name="start", daemon=True).start()
    while not futures.wait([started], timeout=_SIGNALS_S).done:
        pass
    started.result()


@contextlib.contextmanager
def _handled(action: Callable[[], None], *numbers: signal.Signals) -> Iterator[None]:
    """Does something on signals in the block, in a thread of its own.

    Python runs a handler in the middle of whatever the main thread does, another handler
    among it. A lock of `threading.Event.set` that is held there is then waited for by the
    thread that holds it, for ever; `put` of this queue alone may interrupt itself.
    """
    signals: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def act() -> None:
        while signals.get():
            action()

    thread = threading.Thread(target=act, name="signals", daemon=True)
    thread.start()
    previous = {number: signal.signal(number, lambda *_: signals.put(True)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signals.put(False)
        thread.join()
