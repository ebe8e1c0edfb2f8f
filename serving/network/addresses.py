"""Addresses of both families of IP, as people write them and as sockets want them.

Imports no TensorFlow and no gRPC.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import NamedTuple

from recall.errors import InputError

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Hosts that mean every address of the machine, and how the machine itself reaches them."""

_LOOPBACK_NAME = "localhost"
_LOOPBACKS = ("127.0.0.1", "::1")

_MAX_PORT = 65_535

_MAX_TRIES = 20
"""Ports tried until one is free in both families."""


class Endpoint(NamedTuple):
    """One address to listen on."""

    family: int
    host: str


def join(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets.

    >>> join("::1", 8500), join("127.0.0.1", 8500)
    ('[::1]:8500', '127.0.0.1:8500')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bare_host(host: str) -> str:
    """A host without the brackets of a URL.

    >>> bare_host("[::1]"), bare_host("::1")
    ('::1', '::1')
    """
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def reachable_host(host: str) -> str:
    """How this machine reaches a server that listens on `host`.

    >>> reachable_host("::"), reachable_host("0.0.0.0"), reachable_host("10.0.0.7")
    ('::1', '127.0.0.1', '10.0.0.7')
    """
    host = bare_host(host)
    return _WILDCARDS.get(host, host)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`.

    A name counts when all its addresses do: `127.example.com` is no loopback.
    """
    host = bare_host(host)
    if host.lower() == _LOOPBACK_NAME:
        return True
    try:
        addresses = [host.split("%")[0]]
        if not _is_address(host):
            addresses = [found[4][0] for found in socket.getaddrinfo(host, None)]
        return bool(host) and all(map(_is_loopback_address, addresses))
    except (OSError, ValueError):
        return False


def require_address(address: str) -> None:
    """Refuses what is no `host:port`; gRPC takes `::1:8500` for a host without a port.

    Raises:
        InputError: It has no port, or none that there is, or an IPv6 address has no brackets.
    """
    if address.startswith(("unix:", "dns:", "ipv4:", "ipv6:", "passthrough:")):
        return
    match = re.fullmatch(r"(?:\[[^\[\]]+\]|[^\[\]:/]+):(\d{1,5})", address)
    if match and 1 <= int(match[1]) <= _MAX_PORT:
        return
    if address.count(":") > 1 and "/" not in address and "[" not in address:
        host, _, port = address.rpartition(":")
        hint = f"[{host}]:{port}" if port.isdecimal() and len(port) > 3 else f"[{address}]:8500"
        raise InputError(
            f"{address!r} is no host:port: an IPv6 address needs brackets, as in {hint}."
        )
    raise InputError(f"{address!r} is no host:port, as in 127.0.0.1:8500 or [::1]:8500.")


def listen_on(host: str, port: int, flag: str) -> list[socket.socket]:
    """Sockets bound to every address of a host, all with one port, not listening yet.

    `localhost` is both loopbacks, `::` every address of both families, `0.0.0.0`
    those of IPv4.

    Args:
        host: Name or address.
        port: 0 takes a free one.
        flag: That gives the port, for errors.

    Raises:
        InputError: The port is in use or not allowed, or the host is no
            address of this machine.
    """
    try:
        return _bind_all(bare_host(host), port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise no_port(host, port, flag, reason) from error


def no_port(host: str, port: int, flag: str, reason: str) -> InputError:
    """The error of a port that cannot be listened on."""
    return InputError(
        f"Cannot listen on {join(bare_host(host), port)} ({reason}). "
        f"Give another --{flag} (0 picks a free one), or check --host."
    )


def _bind_all(host: str, port: int) -> list[socket.socket]:
    endpoints = _resolve(host)
    for attempt in range(_MAX_TRIES):
        try:
            return _bind_each(endpoints, port)
        except OSError:
            # A port that is free in one family may be taken in the other.
            if port or len(endpoints) < 2 or attempt == _MAX_TRIES - 1:
                raise
    raise AssertionError("not reached")


def _bind_each(endpoints: Sequence[Endpoint], port: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    try:
        for endpoint in endpoints:
            bound.append(_bind(endpoint, port))
            port = bound[0].getsockname()[1]
    except BaseException:
        for opened in bound:
            opened.close()
        raise
    return bound


def _bind(endpoint: Endpoint, port: int) -> socket.socket:
    # With the protocol named, asyncio switches Nagle's algorithm off; it would
    # add 40 ms to every answer over HTTP.
    opened = socket.socket(endpoint.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if endpoint.family == socket.AF_INET6:
            both = endpoint.host == "::" and socket.has_dualstack_ipv6()
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        opened.bind((endpoint.host, port))
    except BaseException:
        opened.close()
        raise
    return opened


def _resolve(host: str) -> list[Endpoint]:
    """The addresses of a host, each once, IPv4 first."""
    if host.lower() == _LOOPBACK_NAME:
        return [_endpoint(address) for address in _LOOPBACKS if _can_bind(address)]
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    endpoints = {Endpoint(entry[0], entry[4][0]) for entry in found}
    return sorted(endpoints)


def _endpoint(address: str) -> Endpoint:
    return Endpoint(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _can_bind(address: str) -> bool:
    """Whether this machine has a loopback address; containers are often without IPv6."""
    try:
        _bind(_endpoint(address), 0).close()
    except OSError:
        return False
    return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return True


def _is_loopback_address(text: str) -> bool:
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
