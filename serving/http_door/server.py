"""The socket under the HTTP door: uvicorn, run in a thread of this process.

uvicorn parses HTTP strictly, keeps connections alive and stops gracefully;
Python's own http.server is not meant for production. Its connections are ours
(`h11_protocol`), which bounds their number and their time.
"""

import asyncio
import functools
import logging
import socket
import threading
from collections.abc import Sequence
from concurrent import futures

import uvicorn
from starlette.routing import Router

from serving.http_door.api import HttpApi
from serving.http_door.application import HttpDoor
from serving.http_door.connections import Connections
from serving.http_door.h11_protocol import GuardedProtocol
from serving.http_door.limits import DEFAULT_LIMITS, HttpLimits
from serving.http_door.routes import build_routes
from serving.http_door.sites import Sites
from serving.network.tls import ServerTls

_BACKLOG = 256
"""Connections that wait to be accepted, and how many are accepted in one go."""

_TICKS_A_SWEEP = 2
"""uvicorn's server ticks ten times a second."""


class HttpServer:
    """Serves an `HttpApi` on bound sockets.

    Attributes:
        door: What uvicorn runs.
    """

    def __init__(
        self,
        api: HttpApi,
        bound_sockets: Sequence[socket.socket],
        *,
        tls: ServerTls | None = None,
        limits: HttpLimits = DEFAULT_LIMITS,
        sites: Sites | None = None,
        shutdown_s: float = 10.0,
    ):
        """Prepares the server.

        Args:
            api: Answers the requests.
            bound_sockets: Bound, not yet listening; closed by `stop`.
            tls: Certificate and key; None speaks HTTP without encryption.
            limits: Times and numbers of connections.
            sites: Which pages may ask, and under which names; None for this machine alone.
            shutdown_s: Time running requests have when the server stops.
        """
        self._sockets = list(bound_sockets)
        backend = api.backend
        # As many as may be admitted: none of them waits for a thread.
        self._executor = futures.ThreadPoolExecutor(
            backend.admission.max_in_flight, thread_name_prefix="http"
        )
        router = Router(build_routes(api), redirect_slashes=False)
        self.door = HttpDoor(backend, router, sites or Sites(), self._executor)
        config = uvicorn.Config(
            self.door,
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            log_level=logging.ERROR,  # A warning for every bad request would fill the log.
            server_header=False,
            proxy_headers=False,  # Peers are who connects, not who a header says.
            timeout_keep_alive=limits.idle_timeout_s,
            timeout_graceful_shutdown=max(1, round(shutdown_s)),
            ssl_context_factory=None if tls is None else lambda *_: tls.ssl_context(),
        )
        connections = Connections(limits, backend.budget, backend.metrics, backend.requests)
        self._server = _Server(config, connections, limits)
        self._thread = threading.Thread(target=self._run, name="http-server", daemon=True)

    def start(self) -> None:
        """Returns when connections are accepted; raises what keeps them from being."""
        self._thread.start()
        self._server.listening.result()

    def stop(self) -> None:
        """Lets running requests finish, then closes the socket."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._executor.shutdown()
        for bound in self._sockets:
            bound.close()

    def _run(self) -> None:
        """Body of the thread."""
        try:
            self._server.run(self._sockets)
        except BaseException as error:
            if self._server.listening.done():
                raise
            self._server.listening.set_exception(error)


class _Server(uvicorn.Server):
    """uvicorn's server with our connections.

    Attributes:
        listening: Done when connections are accepted.
    """

    def __init__(self, config: uvicorn.Config, connections: Connections, limits: HttpLimits):
        super().__init__(config)
        self._connections = connections
        self._limits = limits
        self.listening: futures.Future[None] = futures.Future()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens on the sockets."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._connections.report_error)
        await self.lifespan.startup()
        connection = functools.partial(
            GuardedProtocol,
            self._connections,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        tls = self.config.ssl
        self.servers = [
            await loop.create_server(
                connection,
                sock=bound,
                ssl=tls,
                backlog=_BACKLOG,
                # Until then a connection is in nobody's count.
                ssl_handshake_timeout=self._limits.header_timeout_s if tls else None,
            )
            for bound in sockets or []
        ]
        self.started = True
        self.listening.set_result(None)

    async def on_tick(self, counter: int) -> bool:
        """Looks at all connections a few times a second."""
        if counter % _TICKS_A_SWEEP == 0:
            self._connections.sweep()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops as uvicorn does."""
        await super().shutdown(sockets)
        self._connections.close()
