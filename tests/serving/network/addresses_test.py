"""Hosts and ports of both families of IP."""

import socket

import pytest

from recall.errors import InputError
from serving.network import addresses
from serving.network.addresses import is_loopback, listen_on, require_address


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "localhost"],
)
def test_hosts_that_only_this_machine_reaches(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "10.0.0.7", "fe80::1%eth0", "::ffff:10.0.0.7"]
)
def test_hosts_that_others_reach(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("found", "local"),
    [(["127.0.0.1"], True), (["::1", "127.0.0.1"], True), (["127.0.0.1", "10.0.0.7"], False)],
)
def test_a_name_is_what_it_stands_for(monkeypatch, found, local):
    def resolve(host, port):
        assert host == "127.example.com"  # It begins like a loopback address.
        return [(None, None, None, "", (address, 0)) for address in found]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", resolve)
    assert is_loopback("127.example.com") == local


def test_a_name_that_stands_for_nothing_is_not_local(monkeypatch):
    def resolve(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", resolve)
    assert not is_loopback("nobody.example")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8500",
        "[::1]:8500",
        "[fe80::1%eth0]:8500",
        "towers:8500",
        "unix:/tmp/s",
        "dns:///a:1",
    ],
)
def test_addresses(address):
    require_address(address)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("::1:8500", r"needs brackets, as in \[::1\]:8500"),
        ("2001:db8::7:8500", r"needs brackets, as in \[2001:db8::7\]:8500"),
        ("::1", r"needs brackets, as in \[::1\]:8500"),
        ("[::1]", r"is no host:port, as in 127\.0\.0\.1:8500 or \[::1\]:8500"),
        ("localhost", "is no host:port"),
        ("localhost:", "is no host:port"),
        ("localhost:http", "is no host:port"),
        ("", "is no host:port"),
    ],
)
def test_what_is_no_address(address, hint):
    with pytest.raises(InputError, match=hint):
        require_address(address)


def _families(host, port=0):
    bound = listen_on(host, port, "grpc_port")
    try:
        ports = {one.getsockname()[1] for one in bound}
        assert len(ports) == 1
        return [one.family for one in bound], bound[-1].getsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
        ) if bound[-1].family == socket.AF_INET6 else None
    finally:
        for one in bound:
            one.close()


def test_families():
    assert _families("127.0.0.1") == ([socket.AF_INET], None)
    assert _families("0.0.0.0") == ([socket.AF_INET], None)
    assert _families("::1") == _families("[::1]") == ([socket.AF_INET6], 1)
    assert _families("::") == ([socket.AF_INET6], 0)  # One socket for both.
    assert _families("localhost") == ([socket.AF_INET, socket.AF_INET6], 1)


def test_a_machine_without_ipv6(monkeypatch):
    monkeypatch.setattr(addresses, "_can_bind", lambda address: ":" not in address)
    assert _families("localhost") == ([socket.AF_INET], None)


def test_a_free_port_must_be_free_in_both_families(monkeypatch):
    """The first port tried is taken in IPv6."""
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        bind, tries = addresses._bind, []

        def first_taken(endpoint, port):
            if endpoint.family == socket.AF_INET and not tries:
                tries.append(endpoint)
                return bind(endpoint, taken.getsockname()[1])
            return bind(endpoint, port)

        monkeypatch.setattr(addresses, "_bind", first_taken)
        families, _ = _families("localhost")
    assert len(families) == 2
    assert tries


def test_a_port_in_use_is_an_error_of_one_line():
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"\[::1\]:{port} \(Address already in use\).*--http"):
            listen_on("::1", port, "http_port")
        with pytest.raises(InputError, match=f"localhost:{port}"):
            listen_on("localhost", port, "http_port")
    with pytest.raises(InputError, match="check --host"):
        listen_on("2001:db8::7", 0, "http_port")  # For documentation: no machine has it.
