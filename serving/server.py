"""The serving process: one release, its models, and both doors.

Doors open before the models are loaded, so that a port in use is known at
once and health checks see the loading; they close before models go.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from recall.errors import InputError
from serving import manifest as manifests
from serving import release as releases
from serving.bundle import open_bundle, read_fallback
from serving.grpc_api import build_grpc_server
from serving.http_api import HttpApi
from serving.http_server import HttpServer
from serving.items_servable import MODEL_NAME as ITEMS
from serving.items_servable import ItemsServable
from serving.live_catalogue import LiveCatalogue
from serving.live_items import LiveItems
from serving.model_server import ModelServer, Servable
from serving.new_items import RemoteItemTower, item_embedder, item_vectors
from serving.recall_limits import RecallLimits
from serving.recall_servable import RecallServable
from serving.recall_service import RecallService
from serving.recall_types import MODEL_NAME, RecallRequest
from serving.release import ITEM_TOWER, USER_TOWER
from serving.shard_clients import ShardClients
from serving.sharded_items import ShardedItems
from serving.sharded_service import ShardedRecallService
from serving.status import ServingError
from serving.user_vectors import PredictUserVectors, TfServingUserVectors, UserVectorSource

if TYPE_CHECKING:
    from serving.saved_model import SavedModelServable

DEFAULT_HOST = "127.0.0.1"
"""The doors ask for no password yet; a container passes 0.0.0.0."""

SHUTDOWN_S = 10.0
"""Time running requests have to finish; Docker kills after 10 s."""


class RecallServer:
    """Serves the newest release of a folder until it is stopped.

    Attributes:
        model_server: The models and their states.
        grpc_port: The port bound, also when 0 was asked for.
        http_port: As `grpc_port`.
    """

    def __init__(
        self,
        release_dir: str | os.PathLike,
        *,
        host: str = DEFAULT_HOST,
        grpc_port: int = 8500,
        http_port: int = 8501,
        tf_serving_address: str | None = None,
        version_labels: Sequence[str] = (),
        limits: RecallLimits | None = None,
        shards: Sequence[str] = (),
    ):
        """Finds the release and binds both ports; serves nothing yet.

        Args:
            release_dir: Folder with `user_tower/`, `item_tower/`, `index/`.
            host: Address to listen on; 0.0.0.0 lets other machines in.
            grpc_port: 0 takes a free one.
            http_port: 0 takes a free one.
            tf_serving_address: `host:port` of a TF Serving that serves the
                user tower; no tower is loaded into this process then.
            version_labels: Labels by which requests may name the version.
            limits: Largest sizes of a recall request.
            shards: `host:port` of the servers of all shards of the catalogue,
                in their order; the index of the release is not opened then.

        Raises:
            InputError: There is no release, or a port cannot be had.
        """
        self._release_dir = release_dir
        self._release = releases.latest_release(release_dir)
        self._tf_serving_address = tf_serving_address
        self._version_labels = tuple(version_labels)
        self._limits = limits
        self._clients = ShardClients(shards) if shards else None
        self._source: UserVectorSource | None = None
        self._item_tower: SavedModelServable | RemoteItemTower | None = None
        self._live_items: LiveItems | None = None
        self.model_server = ModelServer()
        _bind(host, grpc_port, "grpc_port").close()  # gRPC itself tells no reason.
        http_socket = _bind(host, http_port, "http_port")
        self._grpc_server = build_grpc_server(self.model_server)
        try:
            self.grpc_port = self._grpc_server.add_insecure_port(f"{host}:{grpc_port}")
        except RuntimeError as error:
            http_socket.close()
            raise InputError(_port_error(host, grpc_port, "grpc_port", str(error))) from error
        self.http_port = http_socket.getsockname()[1]
        self._http_server = HttpServer(
            HttpApi(self.model_server), http_socket, shutdown_s=SHUTDOWN_S
        )
        self._reachable_host = "127.0.0.1" if host == "0.0.0.0" else host

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC door, as reached from this machine."""
        return f"{self._reachable_host}:{self.grpc_port}"

    @property
    def http_address(self) -> str:
        """`host:port` of the HTTP door, as reached from this machine."""
        return f"{self._reachable_host}:{self.http_port}"

    def start(self) -> None:
        """Opens the doors and loads the models; returns when all are available.

        Raises:
            InputError: A file of the release is damaged, the models do not
                belong together, or TF Serving does not answer. Everything is
                stopped then.
        """
        try:
            self._grpc_server.start()
            self._http_server.start()
            self._load()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Reports not ready, lets running requests finish, closes the doors."""
        self.model_server.drain()
        self._grpc_server.stop(SHUTDOWN_S).wait()
        self._http_server.stop()
        self.model_server.unload()
        if self._live_items is not None:
            self._live_items.close()
        if self._clients is not None:
            self._clients.close()
        if isinstance(self._source, TfServingUserVectors):
            self._source.close()
        if isinstance(self._item_tower, RemoteItemTower):
            self._item_tower.close()

    def __enter__(self) -> "RecallServer":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _load(self) -> None:
        """Checks the files, then loads every model and warms it up."""
        version = self._release.version
        if self._clients is None:
            self._live_items = LiveItems(self._release_dir)
        loaders: dict[str, Callable[[], Servable]] = {}
        if self._tf_serving_address is None:
            loaders[USER_TOWER] = self._load_user_tower
            loaders[ITEM_TOWER] = self._load_item_tower
        loaders[MODEL_NAME] = self._load_recall
        loaders[ITEMS] = self._load_items
        for name in loaders:
            self.model_server.announce(name, version)
        releases.verify(self._release)
        for name, loader in loaders.items():
            self.model_server.load(name, version, loader)
            for label in self._version_labels:
                self.model_server.assign_label(name, label, version)

    def _load_user_tower(self) -> Servable:
        from serving.saved_model import SavedModelServable

        servable = SavedModelServable(
            USER_TOWER, self._release.version, self._release.user_tower_dir
        )
        self._source = PredictUserVectors(servable.predict_default, servable.version)
        return servable

    def _load_item_tower(self) -> "SavedModelServable":
        from serving.saved_model import SavedModelServable

        self._item_tower = SavedModelServable(
            ITEM_TOWER, self._release.version, self._release.item_tower_dir
        )
        return self._item_tower

    def _load_recall(self) -> Servable:
        if self._tf_serving_address is not None:
            self._source = TfServingUserVectors(self._tf_serving_address, USER_TOWER)
            self._item_tower = RemoteItemTower(
                self._tf_serving_address, self._release.item_tower_dir
            )
        try:
            service = self._build_service() if self._clients is None else self._build_front()
        except ServingError as error:
            if self._tf_serving_address is None:
                raise
            raise InputError(
                f"No user vectors from --tf_serving_address={self._tf_serving_address}: {error} "
                "Start TF Serving there first, with the user tower of this release."
            ) from error
        return RecallServable(service, self._release.version)

    def _build_service(self) -> RecallService:
        """The service over the release's own index."""
        bundle = open_bundle(self._release.index_dir, verify=False)  # Just verified.
        embed = item_embedder(self._item_tower)
        catalogue = LiveCatalogue(bundle, version=self._release.version, embed=embed)
        self._live_items.attach(catalogue)
        return RecallService(self._source, catalogue, limits=self._limits)

    def _build_front(self) -> ShardedRecallService:
        """The service in front of the shards."""
        index_dir = self._release.index_dir
        service = ShardedRecallService(
            self._source,
            item_vectors(self._item_tower),
            self._clients,
            read_fallback(index_dir, manifests.read(index_dir)),
            version=self._release.version,
            limits=self._limits,
        )
        try:
            service.recall([RecallRequest()])
        except ServingError as error:
            raise InputError(f"No shard answers: {error} Start their servers first.") from error
        return service

    def _load_items(self) -> Servable:
        items = self._live_items if self._clients is None else ShardedItems(self._clients)
        return ItemsServable(items, self._release.version)


def serve(
    release_dir: str | os.PathLike,
    *,
    host: str = DEFAULT_HOST,
    grpc_port: int = 8500,
    http_port: int = 8501,
    tf_serving_address: str | None = None,
    version_labels: Sequence[str] = (),
    shards: Sequence[str] = (),
) -> None:
    """Serves until SIGTERM or SIGINT; must run in the main thread.

    Prints `serving grpc=HOST:PORT http=HOST:PORT` when every model is
    available. The arguments are those of `RecallServer`.

    Raises:
        InputError: The release cannot be served, or a port cannot be had.
    """
    stop_requested = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: stop_requested.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        server = RecallServer(
            release_dir,
            host=host,
            grpc_port=grpc_port,
            http_port=http_port,
            tf_serving_address=tf_serving_address,
            version_labels=version_labels,
            shards=shards,
        )
        with server:
            print(f"serving grpc={server.grpc_address} http={server.http_address}", flush=True)
            stop_requested.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _bind(host: str, port: int, flag: str) -> socket.socket:
    """A TCP socket bound to the address, not listening.

    Raises:
        InputError: The port is in use or not allowed, or the host is no
            address of this machine.
    """
    # With the protocol named, asyncio switches Nagle's algorithm off; it would
    # add 40 ms to every answer over HTTP.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(_port_error(host, port, flag, reason)) from error
    return bound


def _port_error(host: str, port: int, flag: str, reason: str) -> str:
    return (
        f"Cannot listen on {host}:{port} ({reason}). "
        f"Give another --{flag} (0 picks a free one), or check --host."
    )
