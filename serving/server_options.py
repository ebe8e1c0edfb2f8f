"""Everything about a server but the release: addresses, limits, locks, policies."""

import dataclasses
import os

from serving.api.recall_limits import RecallLimits
from serving.batching.options import DEFAULT_BATCHING, BatchingOptions
from serving.doors.admission import MAX_IN_FLIGHT
from serving.doors.byte_budget import MAX_REQUEST_BYTES, MAX_TOTAL_BYTES
from serving.http_door.limits import DEFAULT_LIMITS, HttpLimits
from serving.models.config import NO_MODELS, ServerConfig
from serving.models.manager import RELEASE_POLL_S
from serving.monitoring.access_log import OFF
from serving.monitoring.options import DEFAULT_MONITORING, MonitoringOptions
from serving.network.addresses import is_loopback
from serving.network.client_tls import ClientTls
from serving.network.tls import TlsFiles

DEFAULT_HOST = "127.0.0.1"
"""This machine alone: the doors ask for no password. A container passes 0.0.0.0."""

_PLAIN_TF_SERVING = ClientTls(flag_prefix="tf_serving_")
_PLAIN_SHARDS = ClientTls(flag_prefix="shards_")
"""No encryption; an error names the flags that would encrypt."""


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """How a release is served.

    Attributes:
        host: Name or address to listen on, of either family of IP; 0.0.0.0 lets
            other machines in, and :: those of both families.
        grpc_port: 0 takes a free one.
        http_port: 0 takes a free one.
        tf_serving_address: `host:port` of a TF Serving that serves the
            towers; no tower is loaded into this process then.
        tf_serving_tls: Certificates of the connection to it.
        shards: `host:port` of the servers of all shards of the catalogue, in
            their order; the index of the release is not opened then.
        shards_tls: Certificates of the connections to them.
        version_labels: Labels by which requests may name the newest version.
        release_cache: Folder for copies of a release in an object store, None
            takes one in the cache of the user; changes of live items are there, too.
        limits: Largest sizes of a recall request.
        config: Policies, labels and the models beside the release.
        batching: How requests for the user tower share batches; None runs
            each alone.
        monitoring: Where metrics are shown.
        poll_s: Seconds between looks for new versions; 0 looks once.
        tls: Certificates; None speaks without encryption.
        admin_token: What callers of admin calls must know; None opens these
            calls to this machine and closes them to others.
        admin_token_file: File with it instead, which may change.
        max_in_flight: Requests in work at a time; the excess is refused.
        http: Times and numbers of HTTP connections.
        allowed_hosts: Names under which HTTP may be asked, beside those of this machine.
        cors_allowed_origins: Origins of web pages that may use the HTTP door; `*` for all.
        explorer: Whether the HTTP door shows the interest explorer at `/`.
        access_log: `off`, `text` or `json`: a line for every request.
        otlp_endpoint: Where spans of requests are sent, None sends none.
        max_request_bytes: What one request may take in memory, read and decoded.
        max_total_bytes: What all requests in work may take together.
        drain_s: Time between saying "not serving" and refusing requests, in
            which load balancers take notice.
    """

    host: str = DEFAULT_HOST
    grpc_port: int = 8500
    http_port: int = 8501
    tf_serving_address: str | None = None
    tf_serving_tls: ClientTls = _PLAIN_TF_SERVING
    shards: tuple[str, ...] = ()
    shards_tls: ClientTls = _PLAIN_SHARDS
    version_labels: tuple[str, ...] = ()
    release_cache: str | os.PathLike | None = None
    limits: RecallLimits | None = None
    config: ServerConfig = NO_MODELS
    batching: BatchingOptions | None = DEFAULT_BATCHING
    monitoring: MonitoringOptions = DEFAULT_MONITORING
    poll_s: float = RELEASE_POLL_S
    tls: TlsFiles | None = None
    admin_token: str | None = None
    admin_token_file: str | os.PathLike | None = None
    max_in_flight: int = MAX_IN_FLIGHT
    http: HttpLimits = DEFAULT_LIMITS
    allowed_hosts: tuple[str, ...] = ()
    cors_allowed_origins: tuple[str, ...] = ()
    explorer: bool = True
    access_log: str = OFF
    otlp_endpoint: str | None = None
    max_request_bytes: int = MAX_REQUEST_BYTES
    max_total_bytes: int = MAX_TOTAL_BYTES
    drain_s: float = 0.0

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        return is_loopback(self.host)
