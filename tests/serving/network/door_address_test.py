"""Addresses of a server that people type, right and wrong."""

import pytest

from recall.errors import InputError
from serving.network import door_address


@pytest.mark.parametrize(
    ("given", "meant", "is_http"),
    [
        (" 127.0.0.1:8500 ", "127.0.0.1:8500", False),
        ("[::1]:8500", "[::1]:8500", False),
        ("dns:///recall:8500", "dns:///recall:8500", False),
        ("http://127.0.0.1:8501/", "http://127.0.0.1:8501", True),
        ("HTTP://Host:8501", "http://Host:8501", True),
        ("https://recall.example", "https://recall.example", True),
        ("http://[::1]:8501", "http://[::1]:8501", True),
    ],
)
def test_an_address(given, meant, is_http):
    assert door_address.check(given) == meant
    assert door_address.is_http(meant) == is_http


@pytest.mark.parametrize(
    "given", ["", "127.0.0.1", ":8500", "host:port", "grpc://a:8500", "ftp://a:1", "a:8500/recall"]
)
def test_what_is_no_address_of_a_grpc_port(given):
    with pytest.raises(InputError) as caught:
        door_address.check(given)
    assert str(caught.value) == (
        f"--server: {given!r} is no host:port, as in 127.0.0.1:8500 or [::1]:8500. For the HTTP "
        "port, write http://HOST:PORT."
    )


@pytest.mark.parametrize("given", ["http://", "http://:8501", "https://host:x", "http://[::1:0"])
def test_what_is_no_address_of_an_http_port(given):
    with pytest.raises(InputError, match=r"is no address\. Write https?://HOST:PORT\.$"):
        door_address.check(given)


def test_an_address_with_a_path():
    with pytest.raises(InputError, match=r"after the port\. Write http://127.0.0.1:8501 alone"):
        door_address.check("http://127.0.0.1:8501/recall")
