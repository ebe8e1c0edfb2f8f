"""Certificates of calls to another server, and why a handshake with it failed.

Imports no TensorFlow, and gRPC only when a channel is opened.
"""

import os
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recall.errors import InputError
from serving.network import failure_texts
from serving.network.addresses import require_address
from serving.network.failure_texts import Cause

if TYPE_CHECKING:
    import grpc


class ClientTls(NamedTuple):
    """How calls to a server are encrypted, all files PEM.

    Attributes:
        server_ca: Authorities of which the server's certificate must be; None
            speaks without encryption.
        certificate: The caller's certificate chain, for a server that asks
            for one; None has none.
        key: Its private key, without a password.
        flag_prefix: What the names of its flags begin with, for errors; None where a program
            gave the files as arguments.
    """

    server_ca: str | os.PathLike | None = None
    certificate: str | os.PathLike | None = None
    key: str | os.PathLike | None = None
    flag_prefix: str | None = ""

    def ssl_context(self) -> ssl.SSLContext | None:
        """For HTTPS; None for the authorities of the system.

        Raises:
            InputError: A file cannot be read, is no PEM, or key and
                certificate do not belong together.
        """
        if self.server_ca is None:
            return None
        context = self._try(
            f"{self.name_of('server_ca')}={self.server_ca}",
            lambda: ssl.create_default_context(cafile=self.server_ca),
        )
        if self.certificate is not None:
            self._try(
                f"{self.name_of('certificate')}={self.certificate} and "
                f"{self.name_of('key')}={self.key}",
                lambda: context.load_cert_chain(self.certificate, self.key, password=no_password),
            )
        return context

    def open_channel(
        self, address: str, options: Sequence[tuple[str, Any]] | None = None
    ) -> "grpc.Channel":
        """A gRPC channel to the address itself, never a proxy; nothing is sent yet.

        Args:
            address: `host:port`, an IPv6 address in brackets.
            options: Of gRPC.

        Raises:
            InputError: As `ssl_context`, or the address is none.
        """
        require_address(address)
        return self.channel_with(self.credentials(), address, options)

    def credentials(self) -> "grpc.ChannelCredentials | None":
        """What the files say now; None speaks without encryption.

        Raises:
            InputError: As `ssl_context`.
        """
        import grpc

        if self.ssl_context() is None:
            return None
        pair = (
            (Path(self.key).read_bytes(), Path(self.certificate).read_bytes())
            if self.certificate is not None
            else (None, None)
        )
        return grpc.ssl_channel_credentials(Path(self.server_ca).read_bytes(), *pair)

    def open_aio_channel(
        self, address: str, options: Sequence[tuple[str, Any]] | None = None
    ) -> "grpc.aio.Channel":
        """As `open_channel`, for coroutines of the running loop."""
        import grpc

        require_address(address)
        options, credentials = [_NO_PROXY, *(options or ())], self.credentials()
        if credentials is None:
            return grpc.aio.insecure_channel(address, options)
        return grpc.aio.secure_channel(address, credentials, options)

    @staticmethod
    def channel_with(
        credentials: "grpc.ChannelCredentials | None",
        address: str,
        options: Sequence[tuple[str, Any]] | None = None,
    ) -> "grpc.Channel":
        """`open_channel` with credentials read before."""
        import grpc

        options = [_NO_PROXY, *(options or ())]
        if credentials is None:
            return grpc.insecure_channel(address, options)
        return grpc.secure_channel(address, credentials, options)

    def find_cause(self, details: str) -> str | None:
        """What in certificates makes calls fail, and the remedy; None if it is not they.

        Args:
            details: Text of the error of gRPC or of Python.
        """
        cause = failure_texts.find_cause(details)
        authority, pair = self.name_of("server_ca"), f"{self.name_of('certificate')} and "
        pair += self.name_of("key")
        if cause is Cause.WRONG_NAME:
            return "its certificate is not for this address. Use a name that the certificate has."
        if cause is Cause.WRONG_AUTHORITY:
            return (
                f"its certificate is out of date, or not of an authority in {authority}. "
                "Give the file of its authority."
            )
        if cause is Cause.NO_TLS:
            return f"it speaks without TLS. Leave {authority} out, and ask http:// over HTTP."
        if cause is None:
            return None
        if self.server_ca is None:
            return (
                f"it closed the connection. Over gRPC, give its gRPC port. If it speaks TLS, give "
                f"{authority} (and https:// over HTTP)."
            )
        if self.certificate is None:
            return f"it closed the connection. If it asks for a certificate, give {pair}."
        return f"it closed the connection. Give {pair} of an authority that it lets in."

    def name_of(self, name: str) -> str:
        """What whoever gave a file calls it, for errors: its flag, or its argument."""
        return f"tls_{name}" if self.flag_prefix is None else f"--{self.flag_prefix}tls_{name}"

    def _try(self, files: str, load: Any) -> Any:
        """Reads files, with an error that names their flags."""
        try:
            return load()
        except (OSError, TypeError, ValueError) as error:
            reason = getattr(error, "reason", None) or error.args[-1]
            raise InputError(
                f"Cannot use {files} ({reason}). Give PEM files; a key must belong to its "
                "certificate and have no password."
            ) from error


NO_TLS = ClientTls()

_NO_PROXY = ("grpc.enable_http_proxy", 0)
"""The parts of the system call each other directly. gRPC would otherwise obey `grpc_proxy`,
`https_proxy` and `http_proxy` of the environment, for 127.0.0.1 too."""


def no_password() -> str:
    """Asked for the password of a key; without this OpenSSL asks the terminal."""
    raise ValueError("the key has a password")
