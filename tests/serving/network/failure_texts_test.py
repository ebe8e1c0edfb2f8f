"""Every text that is read out of errors, provoked in the library it is from."""

import contextlib
import errno
import os
import socket
import struct
import threading

import pytest

from recall.errors import InputError
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.network import failure_texts
from serving.network.client_tls import ClientTls
from serving.network.failure_texts import FAILURE_TEXTS
from serving.network.tls import TlsFiles
from tests.serving.network.client_tls_test import empty_doors

TIMEOUT_S = 10.0
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The first frame of a server of HTTP/2: it makes a client of gRPC send its request."""

DATA, END_STREAM = 0, 1
CA, SERVER, ELSEWHERE = (
    ("ca.pem",),
    ("server.pem", "server.key"),
    ("elsewhere.pem", "elsewhere.key"),
)


def _asked(address, certificates, files):
    """The text of the error that a client of the address gets."""
    tls = ClientTls(*(certificates / name for name in files))
    with pytest.raises(InputError) as caught:
        client.query(address, RecallRequest(), timeout_s=TIMEOUT_S, tls=tls)
    cause = caught.value.__cause__
    return cause.details() if hasattr(cause, "details") else str(cause)


def _doors(door, server_files, client_files, host="127.0.0.1"):
    """What a client of a server with these certificates is told."""

    def provoke(certificates):
        tls = server_files and TlsFiles(*(certificates / name for name in server_files)).open()
        with empty_doors(tls) as (grpc_address, http_address):
            address = grpc_address if door == "grpc" else f"https://{http_address}"
            return _asked(address.replace("127.0.0.1", host), certificates, client_files)

    return provoke


def _peer(scheme, client_files, sent=b"", *, reset=False):
    """What a client is told by a peer that reads, sends something, and closes."""

    def answer(listener):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(TIMEOUT_S)
                    if sent == SETTINGS:
                        connection.sendall(sent)
                        _read_http2_request(connection)
                    else:
                        _read_request(connection)
                        connection.sendall(sent)
                    if reset:
                        linger = struct.pack("ii", 1, 0)
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    else:  # What is left unread would make a reset of it.
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass

    def provoke(certificates):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=answer, args=(listener,))
            thread.start()
            try:
                address = f"{scheme}127.0.0.1:{listener.getsockname()[1]}"
                return _asked(address, certificates, client_files)
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

    return provoke


def _read_request(connection):
    """Reads a whole request over HTTP, whose body may come later, or what else comes at once."""
    received = connection.recv(65536)
    while received.startswith(b"POST") and not received.endswith(b"}"):
        received += connection.recv(65536)


def _read_http2_request(connection):
    """Reads up to the end of the first request."""
    with connection.makefile("rb") as stream:
        stream.read(len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
        while len(head := stream.read(9)) == 9:
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream.read(size)
            if kind == DATA and flags & END_STREAM:
                return


def _broken_pipe(certificates):
    """The error of who writes where nothing more can be written."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(BrokenPipeError) as caught:
            ours.send(b"x")
    assert os.strerror(errno.EPIPE) in str(caught.value)
    return str(caught.value)


def _alert(number):
    """A fatal alert as the first and only record of a TLS server."""
    return bytes([0x15, 3, 3, 0, 2, 2, number])


CERTIFICATE_REQUIRED, HANDSHAKE_FAILURE = 116, 40

PROVOKED = [
    ("Hostname Verification", _doors("grpc", ELSEWHERE, CA)),
    ("ostname mismatch", _doors("http", ELSEWHERE, CA, "localhost")),
    ("IP address mismatch", _doors("http", ELSEWHERE, CA)),
    ("CERTIFICATE_VERIFY_FAILED", _doors("grpc", SERVER, ("other_ca.pem",))),
    ("CERTIFICATE_VERIFY_FAILED", _doors("http", SERVER, ("other_ca.pem",))),
    ("WRONG_VERSION_NUMBER", _doors("grpc", None, CA)),
    ("WRONG_VERSION_NUMBER", _doors("http", None, CA)),
    ("CERTIFICATE_REQUIRED", _peer("", CA, _alert(CERTIFICATE_REQUIRED))),
    ("ALERT", _peer("", CA, _alert(HANDSHAKE_FAILURE))),
    ("ALERT", _peer("https://", CA, _alert(HANDSHAKE_FAILURE))),
    ("EOF occurred", _peer("https://", CA)),
    ("failed to connect to all addresses; last error: UNAVAILABLE", _peer("", ())),
    ("failed to connect to all addresses; last error: UNAVAILABLE", _peer("", CA)),
    ("Connection reset", _peer("http://", (), reset=True)),
    ("Connection reset", _peer("https://", CA, reset=True)),
    ("Broken pipe", _broken_pipe),
    ("Server disconnected", _peer("http://", ())),
]

UNREACHED = [
    ("failed to connect", lambda certificates: _asked("127.0.0.1:9", certificates, ())),
    # A label longer than DNS allows: no server of names is asked.
    ("errors resolving", lambda certificates: _asked(f"{'a' * 64}.invalid:9", certificates, ())),
    ("Socket closed", _peer("", (), SETTINGS)),
    ("reset by peer", _peer("", (), SETTINGS, reset=True)),
    ("recvmsg", _peer("", (), SETTINGS, reset=True)),
]


@pytest.mark.parametrize(
    ("text", "provoke"), PROVOKED, ids=[f"{n}-{text}" for n, (text, _) in enumerate(PROVOKED)]
)
def test_a_text_is_provoked(certificates, text, provoke):
    details = provoke(certificates)
    assert text in details
    (row,) = (row for row in FAILURE_TEXTS if row.text == text)
    assert failure_texts.find_cause(details) is row.cause


@pytest.mark.parametrize(("text", "provoke"), UNREACHED, ids=[text for text, _ in UNREACHED])
def test_a_text_of_who_is_not_reached_is_provoked(certificates, text, provoke):
    details = provoke(certificates)
    assert text in details
    assert failure_texts.is_of_grpc(details)


def test_a_server_that_is_not_ready_is_reached():
    assert not failure_texts.is_of_grpc("Servable not found for request: Latest(recall)")


def test_every_row_is_provoked():
    texts = [row.text for row in FAILURE_TEXTS]
    assert len(set(texts)) == len(texts)
    assert set(texts) == {text for text, _ in PROVOKED}
    unreached = [text for text, _ in failure_texts.UNREACHED_TEXTS]
    assert set(unreached) == {text for text, _ in UNREACHED}


@pytest.mark.parametrize(
    "details", ["Connection refused", "Socket closed", "record layer failure", ""]
)
def test_other_texts_say_nothing(details):
    assert failure_texts.find_cause(details) is None
