"""Certificates and tokens that are replaced while servers run, over real doors."""

import os
import ssl

import numpy as np
import pytest
import trustme

from recall.errors import InputError
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.network.client_tls import ClientTls
from serving.network.rotating_channel import RotatingTls
from serving.network.tls import TlsFiles
from serving.protocol.status import Code, ServingError
from serving.servables.remote_model import RemoteModel
from serving.server import RecallServer
from tests.waiting import wait_for

REQUEST = RecallRequest(("i3", "i7"), k=6)


class Issuer:
    """An authority and files of it: the server's, a client's."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        for name, address in (("server", "127.0.0.1"), ("client", "client.example")):
            issued = authority.issue_cert(address)
            issued.private_key_pem.write_to_path(folder / f"{name}.key")
            issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")

    def install(self, folder):
        """Puts all files into a folder, each in one step."""
        folder.mkdir(exist_ok=True)
        for path in self.folder.iterdir():
            (folder / "new").write_bytes(path.read_bytes())
            os.replace(folder / "new", folder / path.name)

    def client(self, mutual=False) -> ClientTls:
        pair = (self.folder / "client.pem", self.folder / "client.key") if mutual else ()
        return ClientTls(self.folder / "ca.pem", *pair)


@pytest.fixture
def issuers(tmp_path):
    return Issuer(tmp_path / "first"), Issuer(tmp_path / "second")


@pytest.fixture
def files(tmp_path, issuers):
    """Where the server finds its files: those of the first issuer."""
    issuers[0].install(tmp_path / "files")
    return tmp_path / "files"


def _presented(address):
    host, port = address.rsplit(":", 1)
    return ssl.get_server_certificate((host, int(port)), timeout=10)


def _pem(path):
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(path.read_text()))


def _doors(server):
    return server.grpc_address, f"https://{server.http_address}"


@pytest.mark.parametrize("how", ["on change", "when told"])
def test_new_connections_get_the_new_certificate(release_dir, files, issuers, how):
    first, second = issuers
    tls = TlsFiles(files / "server.pem", files / "server.key")
    with RecallServer(release_dir, grpc_port=0, http_port=0, tls=tls) as server:
        addresses = (server.grpc_address, server.http_address)
        for address in addresses:
            assert _presented(address) == _pem(first.folder / "server.pem")
        second.install(files)
        if how == "when told":
            server.read_files_again()
        new = _pem(second.folder / "server.pem")
        wait_for(lambda: all(_presented(address) == new for address in addresses))
        for address in _doors(server):
            assert len(client.query(address, REQUEST, tls=second.client()).items) == 6
            with pytest.raises(InputError, match="not of an authority"):
                client.query(address, REQUEST, tls=first.client(), timeout_s=5)


def test_clients_of_an_authority_that_is_gone_are_refused(release_dir, files, issuers):
    first, second = issuers
    tls = TlsFiles(files / "server.pem", files / "server.key", files / "ca.pem")
    with RecallServer(release_dir, grpc_port=0, http_port=0, tls=tls) as server:
        for address in _doors(server):
            assert len(client.query(address, REQUEST, tls=first.client(mutual=True)).items) == 6
        second.install(files)
        server.read_files_again()

        def both_let_the_new_one_in():
            try:
                for address in _doors(server):
                    client.query(address, REQUEST, tls=second.client(mutual=True), timeout_s=5)
            except InputError:
                return False
            return True

        wait_for(both_let_the_new_one_in)
        # Knows the new server, but has a certificate of the old authority alone.
        pair = {"certificate": first.folder / "client.pem", "key": first.folder / "client.key"}
        stranger = second.client()._replace(**pair)
        for address in _doors(server):
            with pytest.raises(InputError):
                client.query(address, REQUEST, tls=stranger, timeout_s=5)


def test_a_broken_new_certificate_keeps_the_old_one(release_dir, files, issuers, caplog):
    first, second = issuers
    tls = TlsFiles(files / "server.pem", files / "server.key")
    with RecallServer(release_dir, grpc_port=0, http_port=0, tls=tls) as server:
        # The certificate alone, without its key: half of a rotation.
        (files / "server.pem").write_bytes((second.folder / "server.pem").read_bytes())
        wait_for(lambda: any(m.startswith("Kept the certificates") for m in caplog.messages))
        for address in _doors(server):
            assert len(client.query(address, REQUEST, tls=first.client()).items) == 6
        told = [m for m in caplog.messages if m.startswith("Kept the certificates")]
        assert len(told) == 1
        assert "the key must belong to the certificate" in told[0]
        (files / "server.key").write_bytes((second.folder / "server.key").read_bytes())
        new = _pem(second.folder / "server.pem")
        wait_for(lambda: _presented(server.grpc_address) == new)
        wait_for(lambda: _presented(server.http_address) == new)


def test_calls_to_other_servers_use_the_new_authority(release_dir, files, issuers):
    first, second = issuers
    tls = TlsFiles(second.folder / "server.pem", second.folder / "server.key")
    calls = RotatingTls(ClientTls(files / "ca.pem", flag_prefix="tf_serving_"))
    history = {"history_item_ids": np.array([[b"i3"]], object)}
    with RecallServer(release_dir, grpc_port=0, http_port=0, tls=tls) as server:
        model = RemoteModel(server.grpc_address, "user_tower", tls=calls)
        try:
            with pytest.raises(ServingError, match="--tf_serving_tls_server_ca") as caught:
                model.predict(history, timeout_s=2.0)
            assert caught.value.code == Code.UNAVAILABLE
            second.install(files)
            calls.refresh()
            assert model.predict(history)[1] == 3
            first.install(files)  # Calls go over a new connection: the authority is wrong again.
            calls.refresh()
            with pytest.raises(ServingError, match="--tf_serving_tls_server_ca"):
                model.predict(history, timeout_s=2.0)
        finally:
            model.close()


def test_the_token_of_changes_is_replaced(release_folder, tmp_path):
    token = tmp_path / "token"
    token.write_text("first-token-0123456789")
    options = {"grpc_port": 0, "http_port": 0, "admin_token_file": token}
    with RecallServer(release_folder.path, **options) as server:

        def delete(sent):
            with client.Client(f"http://{server.http_address}", token=sent) as caller:
                caller.delete_items(["i1"])

        delete("first-token-0123456789")
        token.write_text("second-token-0123456789")
        server.read_files_again()

        def takes_the_new_one():
            try:
                delete("second-token-0123456789")
            except InputError:
                return False
            return True

        wait_for(takes_the_new_one)
        with pytest.raises(InputError, match="not the server's"):
            delete("first-token-0123456789")


def test_files_that_do_not_work_are_refused_before_anything_is_loaded(release_dir, files):
    (files / "server.key").write_text("no key")
    tls = TlsFiles(files / "server.pem", files / "server.key")
    with pytest.raises(InputError, match="--tls_key="):
        RecallServer(release_dir, grpc_port=0, http_port=0, tls=tls)
    with pytest.raises(InputError, match="--shards_tls_server_ca="):
        RecallServer(
            release_dir,
            grpc_port=0,
            http_port=0,
            shards_tls=ClientTls(files / "server.key", flag_prefix="shards_"),
        )
    with pytest.raises(InputError, match="--admin_token_file="):
        RecallServer(release_dir, grpc_port=0, http_port=0, admin_token_file=files / "missing")
