"""Versions that change at different times here and in the process that serves the towers."""

import contextlib
import threading

import numpy as np
import pytest

from recall.errors import InputError
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.models.config import ModelEntry, ServerConfig
from serving.models.model_server import State
from serving.models.version_policy import VersionPolicy
from serving.protocol.status import Code, ServingError
from serving.release import manifest
from serving.servables.recall_servable import RecallServable
from serving.servables.remote_model import RemoteModel
from serving.servables.towers import RemoteItemTower, item_vectors
from serving.server import RecallServer
from tests.serving.conftest import ReleaseFolder
from tests.serving.server_process import ServerProcess
from tests.waiting import wait_for

AVAILABLE = 30
"""`ModelVersionStatus.AVAILABLE`."""

REQUEST = RecallRequest(("i3", "i7"), k=10)
KEEPS_TWO = """
from pathlib import PosixPath
from serving.models.config import ModelEntry, ServerConfig
from serving.protocol.status import Code, ServingError
from serving.models.version_policy import VersionPolicy
"""


@pytest.fixture
def remote_folder(tmp_path, staged_releases):
    """What the other process serves: version 3, the same as here."""
    folder = ReleaseFolder(tmp_path / "remote", staged_releases)
    folder.publish(3, 0)
    return folder


@pytest.fixture
def remote(remote_folder, tmp_path):
    """A process that serves the towers and keeps two versions."""
    config = ServerConfig(ModelEntry(remote_folder.path, VersionPolicy(2), {}), {})
    options = {"poll_s": 0.05, "config": config}
    server = ServerProcess(remote_folder.path, tmp_path / "log", setup=KEEPS_TWO, options=options)
    yield server
    server.kill()


@pytest.fixture
def front(remote, release_folder):
    """The index here, the towers there."""
    options = {"grpc_port": 0, "http_port": 0, "poll_s": 0.05}
    server = RecallServer(release_folder.path, tf_serving_address=remote.grpc_address, **options)
    with server:
        yield server


class Load:
    """Clients that check every answer until they are stopped."""

    def __init__(self, server, folder):
        self._server, self._folder = server, folder
        self._stopped = threading.Event()
        self.versions, self.failures = [], []
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def _run(self):
        while not self._stopped.is_set():
            try:
                self.versions.append(check(self._server, self._folder))
            except BaseException as error:
                self.failures.append(error)
                return

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def wait_for_answers(self, num):
        wanted = len(self.versions) + num
        wait_for(lambda: len(self.versions) >= wanted or self.failures)


def check(server, folder):
    """Asks; the answer is that of one version's tower and index. Returns the version."""
    answer = client.query(server.grpc_address, REQUEST, timeout_s=30)
    assert answer.model_version == answer.index_version
    catalogue = folder.catalogues[answer.index_version]
    expected = catalogue.expected(["i3", "i7"], 10, removed=("i3", "i7"))
    assert [(item.item_id, item.interest) for item in answer.items] == expected
    return answer.index_version


def state(server, version):
    return server.model_server.states()["recall"].get(version)


@pytest.mark.parametrize("first", ["remote", "here"])
def test_no_request_fails_while_the_other_process_keeps_both_versions(
    front, release_folder, remote, remote_folder, first
):
    """Version 4 appears on one side; the other follows when requests were answered meanwhile."""

    def publish_there():
        remote_folder.publish(4, 1)
        with remote.open_client() as other:
            other.wait_for_state(4, AVAILABLE)

    with Load(front, release_folder) as load:
        load.wait_for_answers(5)
        if first == "remote":
            publish_there()
            load.wait_for_answers(20)
            assert set(load.versions) == {3}  # Although the newest there is 4.
            release_folder.publish(4, 1)
        else:
            release_folder.publish(4, 1)
            wait_for(lambda: state(front, 4) == State.END)
            error = front.model_server.status("recall", 4)[0].message
            assert "has no version 4, which the release served here needs" in error
            load.wait_for_answers(20)
            publish_there()
        wait_for(lambda: state(front, 4) == State.AVAILABLE or load.failures)
        load.wait_for_answers(20)
    assert load.failures == []
    assert set(load.versions) == {3, 4}
    assert load.versions[-1] == 4


def test_a_version_that_is_gone_there_is_unavailable_until_the_swap(
    front, release_folder, remote, remote_folder
):
    for version in (4, 5):
        remote_folder.publish(version, version % 2)
        with remote.open_client() as other:
            other.wait_for_state(version, AVAILABLE)
    with remote.open_client() as other:
        wait_for(lambda: other.states("user_tower")[3][0] != AVAILABLE)
    with pytest.raises(InputError, match="has no version 3, which the release served here needs"):
        client.query(f"http://{front.http_address}", REQUEST)
    with pytest.raises(InputError, match=r"has no version 3.*Specific\(user_tower, 3\)"):
        client.query(front.grpc_address, REQUEST)
    release_folder.publish(5, 1)
    wait_for(lambda: state(front, 5) == State.AVAILABLE)
    assert check(front, release_folder) == 5


@pytest.mark.parametrize(
    "option", [pytest.param("tf_serving_address", marks=pytest.mark.slow), "shards"]
)
def test_a_version_whose_warm_up_meets_no_other_process_is_tried_again(
    release_folder, remote_folder, monkeypatch, option
):
    """The other process ends when version 4 is loaded and not yet warm, and comes back."""
    other = RecallServer(remote_folder.path, grpc_port=0, http_port=0, poll_s=0.05)
    warm_up = RecallServable.warm_up

    def warm_up_alone(servable):
        other.stop()
        monkeypatch.setattr(RecallServable, "warm_up", warm_up)
        warm_up(servable)

    with contextlib.ExitStack() as stack:
        stack.enter_context(other)
        address = other.grpc_address if option == "tf_serving_address" else (other.grpc_address,)
        options = {"grpc_port": 0, "http_port": 0, "poll_s": 0.05, option: address}
        front = stack.enter_context(RecallServer(release_folder.path, **options))
        remote_folder.publish(4, 1)
        wait_for(lambda: state(other, 4) == State.AVAILABLE)
        monkeypatch.setattr(RecallServable, "warm_up", warm_up_alone)
        release_folder.publish(4, 1)
        wait_for(lambda: state(front, 4) == State.END)
        assert front.model_server.status("recall", 4)[0].code == Code.UNAVAILABLE
        stack.enter_context(
            RecallServer(remote_folder.path, grpc_port=other.grpc_port, http_port=0)
        )
        wait_for(lambda: state(front, 4) == State.AVAILABLE)
        assert check(front, release_folder) == 4


def test_vectors_of_similar_items_are_of_the_release(recall_server, release_dir, catalogue):
    """The item tower too: of the version asked for, and of the embedding space."""
    tower_dir = release_dir / "item_tower" / "3"
    fingerprint = manifest.read(tower_dir)["fingerprint"]
    with contextlib.ExitStack() as stack:
        address = recall_server.grpc_address
        models = [RemoteModel(address, "item_tower", version=v) for v in (3, 2)]
        towers = [RemoteItemTower(model, tower_dir) for model in models]
        for model in models:
            stack.callback(model.close)
        vectors, is_known = item_vectors(towers[0], fingerprint)(["i3", "nowhere"])
        np.testing.assert_allclose(vectors[0], catalogue.item_vectors[3], rtol=1e-6)
        assert is_known.tolist() == [True, False]
        with pytest.raises(ServingError, match=f"space {fingerprint}, the release holds other"):
            item_vectors(towers[0], "other")(["i3"])
        with pytest.raises(ServingError, match=r"`item_tower` at .* has no version 2") as caught:
            item_vectors(towers[1], fingerprint)(["i3"])
        assert caught.value.code == Code.UNAVAILABLE
