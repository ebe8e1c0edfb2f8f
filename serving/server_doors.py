"""Both doors of a server: their ports bound, and what is behind them."""

import socket
from typing import NamedTuple

import grpc

from serving.doors.backend import Backend
from serving.grpc_door.api import MODELS, PREDICTION
from serving.grpc_door.health import Health
from serving.grpc_door.reflection import Reflection
from serving.grpc_door.server import GrpcServer
from serving.http_door.api import HttpApi
from serving.http_door.server import HttpServer
from serving.http_door.sites import Sites
from serving.network import addresses
from serving.network.tls import ServerTls
from serving.server_options import ServerOptions

SHUTDOWN_S = 10.0
"""Time running requests have to finish; Docker kills after 10 s."""


class Doors(NamedTuple):
    """Both doors of a server, not yet started.

    Attributes:
        grpc: The gRPC door.
        grpc_port: Its port, also when 0 was asked for.
        health: What its health service says.
        http: The HTTP door.
        http_port: As `grpc_port`.
    """

    grpc: GrpcServer
    grpc_port: int
    health: Health
    http: HttpServer
    http_port: int


def open_doors(backend: Backend, options: ServerOptions, tls: ServerTls | None) -> Doors:
    """Binds both ports and puts the doors behind them.

    Args:
        backend: What answers.
        options: Where they are, and for whom.
        tls: Certificates of both; None speaks without encryption.

    Raises:
        InputError: A port cannot be had.
    """
    http_sockets = addresses.listen_on(options.host, options.http_port, "http_port")
    try:
        grpc_server = GrpcServer(backend)
        health = Health(grpc_server, (PREDICTION, MODELS))
        Reflection(grpc_server)
        credentials = tls.grpc_credentials() if tls else grpc.insecure_server_credentials()
        grpc_port = _bind_grpc(grpc_server, options, credentials)
    except BaseException:
        for bound in http_sockets:
            bound.close()
        raise
    return Doors(
        grpc=grpc_server,
        grpc_port=grpc_port,
        health=health,
        http=_build_http_server(backend, options, tls, http_sockets),
        http_port=http_sockets[0].getsockname()[1],
    )


def _bind_grpc(
    server: GrpcServer, options: ServerOptions, credentials: grpc.ServerCredentials
) -> int:
    """Lets gRPC listen on every address of the host; returns the port."""
    host, port = options.host, options.grpc_port
    probes = addresses.listen_on(host, port, "grpc_port")  # gRPC itself tells no reason.
    found = [probe.getsockname()[:2] for probe in probes]
    for probe in probes:
        probe.close()
    try:
        for address, free_port in found:
            # One address may have any port, several need the one that was free in all.
            wanted = port if len(found) == 1 else free_port
            opened = server.add_secure_port(addresses.join(address, wanted), credentials)
    except RuntimeError as error:
        raise addresses.no_port(host, port, "grpc_port", str(error)) from error
    return opened


def _build_http_server(
    backend: Backend,
    options: ServerOptions,
    tls: ServerTls | None,
    bound_sockets: list[socket.socket],
) -> HttpServer:
    """The HTTP door on its sockets."""
    api = HttpApi(
        backend,
        metrics_path=options.monitoring.path,
        limits=options.limits,
        has_explorer=options.explorer,
    )
    sites = Sites(
        allowed_hosts=options.allowed_hosts,
        allowed_origins=options.cors_allowed_origins,
        is_local=options.is_local,
    )
    return HttpServer(
        api, bound_sockets, tls=tls, limits=options.http, sites=sites, shutdown_s=SHUTDOWN_S
    )
