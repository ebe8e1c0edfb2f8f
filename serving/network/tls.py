"""Certificates of both doors; those of calls to other servers are in `client_tls`.

Imports no TensorFlow. With a certificate authority for clients, both doors
refuse clients without a certificate of it (mutual TLS): one open door would
make the lock of the other pointless. Files may be replaced while serving.
"""

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from recall.errors import InputError
from serving.network.client_tls import no_password
from serving.network.watched_files import WatchedFiles


class TlsFiles(NamedTuple):
    """Where certificate and key are, all PEM.

    Attributes:
        certificate: The server's certificate chain.
        key: Its private key, without a password.
        client_ca: Authorities whose clients are let in; None lets all in.
    """

    certificate: str | os.PathLike
    key: str | os.PathLike
    client_ca: str | os.PathLike | None = None

    def check(self) -> ssl.SSLContext:
        """A context of the files; refuses files that do not work.

        Raises:
            InputError: One cannot be read, is no PEM, or key and certificate
                do not belong together.
        """
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key, password=no_password)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            return context
        except (OSError, ssl.SSLError, ValueError) as error:
            flags = f"--tls_certificate={self.certificate} and --tls_key={self.key}"
            if self.client_ca is not None:
                flags += f" and --tls_client_ca={self.client_ca}"
            reason = getattr(error, "reason", None) or error.args[-1]
            raise InputError(
                f"Cannot use {flags} ({reason}). Give PEM files; the key must belong to the "
                "certificate and have no password."
            ) from error

    def open(self) -> "ServerTls":
        """Reads the files.

        Raises:
            InputError: As `check`.
        """
        return ServerTls(self)

    def read(self) -> "Material":
        """The files' content, checked.

        Raises:
            InputError: As `check`.
        """
        try:
            pair = (Path(self.key).read_bytes(), Path(self.certificate).read_bytes())
            authorities = Path(self.client_ca).read_bytes() if self.client_ca is not None else None
        except OSError:
            self.check()  # Says which.
            raise
        return Material(
            self.check(), grpc.ssl_server_certificate_configuration([pair], authorities)
        )


class Material(NamedTuple):
    """What the files say, as both doors want it."""

    context: ssl.SSLContext
    configuration: grpc.ServerCertificateConfiguration


class ServerTls:
    """The certificates of both doors; new connections get those read last."""

    def __init__(self, files: TlsFiles):
        """Reads the files.

        Raises:
            InputError: See `TlsFiles.check`.
        """
        self._asks_clients = files.client_ca is not None
        paths = [path for path in files if path is not None]
        self._watched = WatchedFiles(paths, files.read, what="the certificates of the doors")

    def refresh(self, *, force: bool = False) -> None:
        """See `WatchedFiles.refresh`."""
        self._watched.refresh(force=force)

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For the gRPC door, which asks for certificates with every handshake."""
        told = self._watched.generation

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal told
            if told == self._watched.generation:
                return None
            told = self._watched.generation
            return self._watched.content.configuration

        return grpc.dynamic_ssl_server_credentials(
            self._watched.content.configuration, fetch, self._asks_clients
        )

    def ssl_context(self) -> ssl.SSLContext:
        """For the HTTP door: one context that always stands for the newest one."""
        return _CurrentContext(lambda: self._watched.content.context)


class _CurrentContext(ssl.SSLContext):
    """Begins every connection in the context of the moment.

    A context that is in use cannot forget an authority, so there is a new one for
    new files; asyncio keeps the one it was given and only calls `wrap_bio`.
    """

    _current: Callable[[], ssl.SSLContext]

    def __new__(cls, current: Callable[[], ssl.SSLContext]) -> "_CurrentContext":
        context = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        context._current = current
        return context

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """See `ssl.SSLContext.wrap_bio`."""
        return self._current().wrap_bio(*arguments, **named)
