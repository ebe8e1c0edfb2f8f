"""Calls that leave the process over TLS: clients, a front and its shards, remote towers."""

import contextlib
import socket as sockets
import threading

import numpy as np
import pytest

from pipelines.cli import main
from pipelines.clients.change_items import change_items
from recall.errors import InputError
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.doors.backend import Backend
from serving.grpc_door.server import GrpcServer
from serving.http_door.api import HttpApi
from serving.http_door.server import HttpServer
from serving.models.model_server import ModelServer
from serving.network.addresses import listen_on
from serving.network.client_tls import NO_TLS, ClientTls
from serving.network.tls import TlsFiles
from serving.server import RecallServer

REQUEST = RecallRequest(("i3", "i7"), k=6)


def client_tls(certificates, **changes):
    """What a client of a server with mutual TLS needs."""
    files = ("ca.pem", "client.pem", "client.key")
    return ClientTls(*(certificates / name for name in files))._replace(**changes)


@pytest.fixture
def secure_server(release_folder, certificates):
    """A server with mutual TLS over a release of its own."""
    tls = TlsFiles(*(certificates / name for name in ("server.pem", "server.key", "ca.pem")))
    with RecallServer(release_folder.path, grpc_port=0, http_port=0, tls=tls) as server:
        yield server


@contextlib.contextmanager
def empty_doors(tls=None):
    """Addresses of both doors of a server without models."""
    backend = Backend(ModelServer())
    grpc_door = GrpcServer(backend)
    if tls is None:
        port = grpc_door.add_insecure_port("127.0.0.1:0")
    else:
        port = grpc_door.add_secure_port("127.0.0.1:0", tls.grpc_credentials())
    (socket,) = listen_on("127.0.0.1", 0, "http_port")
    http_door = HttpServer(HttpApi(backend), [socket], tls=tls, shutdown_s=1)
    grpc_door.start()
    http_door.start()
    try:
        yield f"127.0.0.1:{port}", f"127.0.0.1:{socket.getsockname()[1]}"
    finally:
        http_door.stop()
        grpc_door.stop(0).wait()


def ids(response):
    return [(item.item_id, item.interest) for item in response.items]


def test_queries_and_changes_of_items(secure_server, certificates, catalogue):
    tls, removed = client_tls(certificates), ["i3", "i7"]
    for address in (secure_server.grpc_address, f"https://{secure_server.http_address}"):
        expected = catalogue.expected(["i3", "i7"], 6, removed)
        assert ids(client.query(address, REQUEST, tls=tls)) == expected
        removed.append(expected[0][0])
        sent = change_items(address, None, removed[-1:], tls=tls)
        assert sent == f"0 items upserted, 1 deleted; the server now has {42 - len(removed)} items."


def test_the_commands_take_the_files(secure_server, certificates, catalogue, capsys):
    flags = [
        f"--tls_server_ca={certificates / 'ca.pem'}",
        f"--tls_certificate={certificates / 'client.pem'}",
        f"--tls_key={certificates / 'client.key'}",
    ]
    expected = catalogue.expected(["i3"], 1, removed=["i3", "i5"])[0][0]
    for address in (secure_server.grpc_address, f"https://{secure_server.http_address}"):
        server = f"--server={address}"
        assert main(["items", server, "--delete=i5", *flags]) == 0
        assert main(["query", server, "--history=i3", "--k=1", *flags]) == 0
        assert capsys.readouterr().out.splitlines()[2].split()[1] == expected
        assert main(["query", server, "--history=i3"]) != 0
        assert "--tls_server_ca" in capsys.readouterr().err


def test_remote_towers(secure_server, release_dir, certificates, catalogue):
    address = secure_server.grpc_address
    tls = client_tls(certificates, flag_prefix="tf_serving_")
    options = {"grpc_port": 0, "http_port": 0, "tf_serving_address": address}
    with RecallServer(release_dir, **options, tf_serving_tls=tls) as front:
        expected = catalogue.expected(["i3", "i7"], 6, removed=["i3", "i7"])
        assert ids(client.query(front.grpc_address, REQUEST)) == expected
    wanted = "If it asks for a certificate, give --tf_serving_tls_certificate"
    without = tls._replace(certificate=None, key=None)
    with pytest.raises(InputError, match=wanted) as caught:
        RecallServer(release_dir, **options, tf_serving_tls=without).start()
    assert f"--tf_serving_address={address}" in str(caught.value)
    with pytest.raises(InputError, match="If it speaks TLS, give --tf_serving_tls_server_ca"):
        RecallServer(release_dir, **options).start()


def test_shards(secure_server, release_dir, certificates, catalogue):
    address = secure_server.grpc_address
    tls = client_tls(certificates, flag_prefix="shards_")
    options = {"grpc_port": 0, "http_port": 0, "shards": (address,)}
    with RecallServer(release_dir, **options, shards_tls=tls) as front:
        expected = catalogue.expected(["i3", "i7"], 6, removed=["i3", "i7"])
        assert ids(client.query(front.grpc_address, REQUEST)) == expected
        deleted = {"item_ids": np.array([expected[0][0].encode()], object)}
        client.predict(front.grpc_address, "items", "delete", deleted)
        found = client.query(front.grpc_address, RecallRequest(("i3", "i7"), k=5))
        assert ids(found) == expected[1:]
    stranger = tls._replace(server_ca=certificates / "other_ca.pem")
    with pytest.raises(InputError, match="authority in --shards_tls_server_ca") as caught:
        RecallServer(release_dir, **options, shards_tls=stranger).start()
    assert f"Shard 0/1 at {address}" in str(caught.value)


@pytest.mark.parametrize("door", ["grpc", "http"])
@pytest.mark.parametrize(
    ("server_files", "client_files", "cause"),
    [
        (("server.pem", "server.key"), ("other_ca.pem",), "not of an authority in --tls_server_ca"),
        (("elsewhere.pem", "elsewhere.key"), ("ca.pem",), "certificate is not for this address"),
        (
            ("server.pem", "server.key", "ca.pem"),
            ("ca.pem",),
            "give --tls_certificate and --tls_key",
        ),
        (
            ("server.pem", "server.key", "other_ca.pem"),
            ("ca.pem", "client.pem", "client.key"),
            "Give --tls_certificate and --tls_key of an authority that it lets in",
        ),
        (None, ("ca.pem",), "it speaks without TLS. Leave --tls_server_ca out"),
        (("server.pem", "server.key"), (), "If it speaks TLS, give --tls_server_ca"),
    ],
)
def test_a_handshake_that_fails_says_why(certificates, door, server_files, client_files, cause):
    tls = server_files and TlsFiles(*(certificates / name for name in server_files))
    with empty_doors(tls and tls.open()) as (grpc_address, http_address):
        scheme = "https" if client_files else "http"
        address = grpc_address if door == "grpc" else f"{scheme}://{http_address}"
        with pytest.raises(InputError) as caught:
            client.query(
                address, REQUEST, tls=ClientTls(*(certificates / name for name in client_files))
            )
    text = str(caught.value)
    assert text.startswith(f"No recall server answers at {address}: ")
    assert cause in text
    assert "\n" not in text


@pytest.mark.parametrize("address", ["127.0.0.1:9", "https://127.0.0.1:9"])
def test_nobody_listens(certificates, address):
    with pytest.raises(InputError, match="Start one with `recall serve"):
        client.query(address, REQUEST, tls=client_tls(certificates))


@pytest.mark.parametrize("address", ["127.0.0.1:9", "https://127.0.0.1:9"])
@pytest.mark.parametrize(
    ("changes", "flag", "reason"),
    [
        ({"server_ca": "none.pem"}, "--tls_server_ca=", "No such file"),
        ({"server_ca": "client.key"}, "--tls_server_ca=", "NO_CERTIFICATE"),
        ({"key": "server.key"}, "--tls_certificate=.* and --tls_key=", "KEY_VALUES_MISMATCH"),
        ({"key": "none.key"}, "--tls_certificate=.* and --tls_key=", "No such file"),
    ],
)
def test_files_that_do_not_work(certificates, address, changes, flag, reason):
    changes = {name: certificates / file for name, file in changes.items()}
    with pytest.raises(InputError, match=rf"Cannot use {flag}.*\(.*{reason}.*\)\. Give PEM"):
        client.query(address, REQUEST, tls=client_tls(certificates, **changes))


def test_a_server_refuses_the_files_of_its_calls_at_once(release_dir, certificates):
    tls = ClientTls(certificates / "none.pem", flag_prefix="shards_")
    with pytest.raises(InputError, match="Cannot use --shards_tls_server_ca="):
        RecallServer(release_dir, grpc_port=0, http_port=0, shards=("s:1",), shards_tls=tls)


def test_http_without_s_is_not_encrypted(certificates):
    with pytest.raises(InputError, match="--tls_server_ca encrypts nothing at http://h:1"):
        client.query("http://h:1", REQUEST, tls=client_tls(certificates))


def test_other_errors_are_not_blamed_on_certificates():
    assert NO_TLS.find_cause("Connection refused") is None
    assert NO_TLS.find_cause("Socket closed") is None  # Amid a call: the server was stopped.


def hang_up(listener):
    """Closes every connection when something was sent, as servers of TLS do."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.close()


def test_a_server_that_hangs_up_without_a_word_may_speak_tls():
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener,), daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        for scheme in ("", "http://"):
            with pytest.raises(InputError, match="speaks TLS, give --tls_server_ca"):
                client.query(f"{scheme}127.0.0.1:{port}", REQUEST)
        listener.shutdown(sockets.SHUT_RDWR)
    thread.join()
