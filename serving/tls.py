"""Certificates of both doors; those of calls to other servers are in `client_tls`.

Imports no TensorFlow. With a certificate authority for clients, both doors
refuse clients without a certificate of it (mutual TLS): one open door would
make the lock of the other pointless.
"""

import os
import ssl
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from recall.errors import InputError
from serving.client_tls import no_password


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

    def check(self) -> None:
        """Refuses files that do not work.

        Raises:
            InputError: One cannot be read, is no PEM, or key and certificate
                do not belong together.
        """
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key, password=no_password)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
        except (OSError, ssl.SSLError, ValueError) as error:
            flags = f"--tls_certificate={self.certificate} and --tls_key={self.key}"
            if self.client_ca is not None:
                flags += f" and --tls_client_ca={self.client_ca}"
            reason = getattr(error, "reason", None) or error.args[-1]
            raise InputError(
                f"Cannot use {flags} ({reason}). Give PEM files; the key must belong to the "
                "certificate and have no password."
            ) from error

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For the gRPC door."""
        pair = (Path(self.key).read_bytes(), Path(self.certificate).read_bytes())
        authorities = Path(self.client_ca).read_bytes() if self.client_ca is not None else None
        return grpc.ssl_server_credentials(
            [pair], root_certificates=authorities, require_client_auth=authorities is not None
        )

    def uvicorn_options(self) -> dict[str, Any]:
        """For the HTTP door."""
        options = {
            "ssl_certfile": os.fspath(self.certificate),
            "ssl_keyfile": os.fspath(self.key),
        }
        if self.client_ca is not None:
            options["ssl_ca_certs"] = os.fspath(self.client_ca)
            options["ssl_cert_reqs"] = ssl.CERT_REQUIRED
        return options
