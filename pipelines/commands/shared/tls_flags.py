"""Flags of calls to other servers over TLS; the server's own are in `commands/serve.py`.

Imports no TensorFlow.
"""

from absl import flags

from pipelines.commands.shared.flags import FlagSpec
from recall.errors import InputError
from serving.network.client_tls import ClientTls


def client_flags(prefix: str, server: str) -> dict[str, FlagSpec]:
    """The flags of calls to one kind of server.

    Args:
        prefix: What their names begin with, for example `shards_`.
        server: What the help calls it.
    """
    return {
        f"{prefix}tls_server_ca": FlagSpec(
            help=f"Authorities (PEM): speaks TLS with {server}, whose certificate must be of them.",
            value="FILE",
            kind="path",
        ),
        f"{prefix}tls_certificate": FlagSpec(
            help=f"Client certificate chain (PEM), if one is asked for by {server}.",
            value="FILE",
            kind="path",
        ),
        f"{prefix}tls_key": FlagSpec(
            help="Private key of the client certificate (PEM).", value="FILE", kind="path"
        ),
    }


def read_client_tls(values: flags.FlagValues, prefix: str, server_flag: str) -> ClientTls:
    """What the flags say; the files are not read yet.

    Args:
        values: Parsed flags.
        prefix: As `client_flags`.
        server_flag: The flag with the server's address.

    Raises:
        InputError: One is given without another that it needs.
    """
    names = [f"{prefix}tls_{name}" for name in ("server_ca", "certificate", "key")]
    authority, certificate, key = (values[name].value or None for name in names)
    if bool(certificate) != bool(key) or (certificate and not authority):
        raise InputError(
            f"A client certificate needs --{names[0]}=FILE, --{names[1]}=FILE and "
            f"--{names[2]}=FILE."
        )
    if authority and not values[server_flag].value:
        raise InputError(f"--{names[0]} needs --{server_flag}.")
    return ClientTls(authority, certificate, key, prefix)
