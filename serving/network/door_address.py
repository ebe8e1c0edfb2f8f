"""Addresses of either door of a server, as people name them, checked before anybody is called.

Imports no TensorFlow and no gRPC.
"""

import urllib.parse

from recall.errors import InputError
from serving.network.addresses import require_address


def is_http(server: str) -> bool:
    """Whether an address is that of an HTTP door; else it is of a gRPC door."""
    return server.lower().startswith(("http://", "https://"))


def check(server: str, name: str = "--server") -> str:
    """The address of a door, as the client wants it.

    Args:
        server: `host:port` of a gRPC door, or `http://host:port` or
            `https://host:port` of an HTTP door; a `/` at the end says nothing.
        name: Its flag, for errors.

    Raises:
        InputError: It is neither.
    """
    server = server.strip()
    if is_http(server):
        return _check_url(server, name)
    try:
        require_address(server)
    except InputError as error:
        raise InputError(f"{name}: {error} For the HTTP port, write http://HOST:PORT.") from error
    return server


def _check_url(server: str, name: str) -> str:
    try:
        url = urllib.parse.urlsplit(server)
        is_address = bool(url.hostname) and url.port != 0
    except ValueError:  # A port that is no number, or an IPv6 address with one bracket.
        is_address = False
    if not is_address:
        raise InputError(
            f"{name}={server} is no address. Write {server.split(':')[0]}://HOST:PORT."
        )
    address = f"{url.scheme}://{url.netloc}"
    if url.path not in ("", "/") or url.query or url.fragment:
        raise InputError(f"{name}={server} goes on after the port. Write {address} alone.")
    return address
