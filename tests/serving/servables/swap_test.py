"""Versions come and go while clients ask, over real doors; no answer mixes them."""

import os
import threading
import time
from pathlib import Path

import grpc
import pytest
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.models.config import parse_config
from serving.models.model_server import State
from serving.protocol.status import Code
from serving.protocol.tensors import pad_strings, to_numpy
from serving.protocol.warmup import WARMUP_FILE
from serving.release import manifest, retention
from serving.release.release import USER_TOWER
from serving.servables.release_source import RELEASE_MODELS
from serving.server import RecallServer
from tests.serving.grpc_requests import build_request
from tests.waiting import wait_for

POLL_S = 0.05


@pytest.fixture
def serve(release_folder):
    """Starts a server of the folder; it ends with the test."""
    servers = []

    def start(**options):
        options = {"poll_s": POLL_S, **options}
        servers.append(RecallServer(release_folder.path, grpc_port=0, http_port=0, **options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def _states(server, name="recall"):
    return server.model_server.states()[name]


def _predict(server, name, **spec):
    request = build_request(name, {"history_item_ids": pad_strings([["i3", "i7"]])}, **spec)
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        return stub.Predict(request, timeout=30)


def _error_of(function, *arguments, **named):
    with pytest.raises(grpc.RpcError) as error:
        function(*arguments, **named)
    return error.value.code(), error.value.details()


def test_swaps_under_load_give_no_error_and_no_mixed_answer(release_folder, serve):
    server = serve()
    stopped = threading.Event()
    versions_seen, failures = set(), []

    def ask():
        request = RecallRequest(("i3", "i7"), k=10)
        while not stopped.is_set():
            try:
                answer = client.query(server.grpc_address, request, timeout_s=30)
                catalogue = release_folder.catalogues[answer.index_version]
                expected = catalogue.expected(["i3", "i7"], 10, removed=("i3", "i7"))
                assert answer.model_version == answer.index_version
                assert [item.item_id for item in answer.items] == [item for item, _ in expected]
                versions_seen.add(answer.index_version)
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for version in range(4, 10):
            release_folder.publish(version, version % 2)
            wait_for(lambda wanted=version: _states(server).get(wanted) == State.AVAILABLE)
            wait_for(lambda old=version - 1: _states(server)[old] == State.END)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert {3, 9} <= versions_seen
    for name in ("recall", "user_tower", "item_tower"):
        assert _states(server, name)[9] == State.AVAILABLE
    assert server.model_server.is_ready()


def test_a_version_whose_warm_up_fails_never_serves(release_folder, serve):
    server = serve()
    release_folder.stage(4, 1)
    tower = release_folder.staged(USER_TOWER, 4)
    fingerprint = manifest.read(tower)["fingerprint"]
    (tower / WARMUP_FILE).write_bytes(b"no records" * 10)
    (tower / manifest.MANIFEST_NAME).unlink()
    manifest.seal(tower, {"fingerprint": fingerprint})
    release_folder.publish(4)
    wait_for(lambda: _states(server).get(4) == State.END)
    status = server.model_server.status("user_tower", 4)[0]
    assert status.code == Code.UNKNOWN
    assert "the warm-up failed after 0 records" in status.message
    assert _predict(server, "recall").model_spec.version.value == 3
    code, details = _error_of(_predict, server, "user_tower", version=4)
    assert code == grpc.StatusCode.NOT_FOUND
    assert details == "Servable not found for request: Specific(user_tower, 4)"
    assert server.model_server.is_ready()


@pytest.mark.parametrize("part", ["user_tower", "index"])
def test_a_damaged_version_is_refused_until_it_is_replaced(release_folder, serve, part):
    server = serve()
    release_folder.stage(4, 1)
    names = {"user_tower": "saved_model.pb", "index": "item_vectors.npy"}
    file = release_folder.staged(part, 4) / names[part]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    release_folder.publish(4)
    wait_for(lambda: _states(server).get(4) == State.END)
    assert f"{names[part]} is damaged" in server.model_server.status("recall", 4)[0].message
    assert _predict(server, "recall").model_spec.version.value == 3
    release_folder.withdraw(4)
    release_folder.publish(4, 1)
    wait_for(lambda: _states(server)[4] == State.AVAILABLE)


@pytest.mark.parametrize(
    "name", ["user_tower/{}/variables/variables.index", "index/{}/item_vectors.npy"]
)
def test_a_damaged_file_that_is_mended_in_its_place_is_enough(release_folder, serve, name):
    server = serve()
    release_folder.stage(4, 1)
    staged = release_folder.path / name.format(".4.staged")
    content = staged.read_bytes()
    staged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    release_folder.publish(4)
    wait_for(lambda: _states(server).get(4) == State.END)
    (release_folder.path / name.format(4)).write_bytes(content)
    wait_for(lambda: _states(server)[4] == State.AVAILABLE)
    assert _predict(server, "recall").model_spec.version.value == 4


def test_parts_of_different_exports_are_refused(release_folder, serve):
    server = serve()
    release_folder.stage(4, 1)
    release_folder.stage(5, 0)
    parts = [release_folder.staged("index", version) for version in (4, 5)]
    other = parts[0].with_name("other")
    parts[0].rename(other)
    parts[1].rename(parts[0])
    release_folder.publish(4)
    wait_for(lambda: _states(server).get(4) == State.END)
    assert "mixes exports" in server.model_server.status("recall", 4)[0].message
    assert _predict(server, "recall").model_spec.version.value == 3


def test_the_old_version_stays_while_a_request_uses_it(release_folder, serve):
    server = serve()
    with server.model_server.use("recall") as servable:
        release_folder.publish(4, 1)
        wait_for(lambda: _states(server)[3] == State.UNLOADING)
        assert _predict(server, "recall").model_spec.version.value == 4
        answer = servable.service.recall([RecallRequest(("i3",), k=3)])[0]
        expected = release_folder.catalogues[3].expected(["i3"], 3, removed=("i3",))
        assert [item.item_id for item in answer.items] == [item for item, _ in expected]
        time.sleep(3 * POLL_S)
        assert _states(server)[3] == State.UNLOADING
    wait_for(lambda: _states(server)[3] == State.END)


def test_a_label_follows_before_the_old_version_goes(release_folder, serve):
    server = serve(version_labels=("newest",))
    with server.model_server.use("recall"):
        release_folder.publish(4, 1)
        wait_for(lambda: _states(server)[3] == State.UNLOADING)
        for name in ("recall", "user_tower"):
            assert _predict(server, name, label="newest").model_spec.version.value == 4


def test_start_with_a_broken_newest_version(release_folder, serve):
    release_folder.publish(4, 1)
    (release_folder.path / "index" / "4" / "item_vectors.npy").write_bytes(b"")
    server = serve()
    assert _states(server) == {3: State.AVAILABLE, 4: State.END}


def test_polling_can_be_switched_off(release_folder, serve):
    server = serve(poll_s=0)
    release_folder.publish(4, 1)
    time.sleep(0.3)
    assert _states(server) == {3: State.AVAILABLE}


# HandleReloadConfigRequest


TWO_VERSIONS = 'name: "user_tower" base_path: "/models/user_tower" model_version_policy { all {} }'
ONE_VERSION = 'name: "user_tower" base_path: "/models/user_tower"'
TOKEN = "0123456789abcdef"


def _config(*entries):
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    text = " ".join(f"config {{ {entry} }}" for entry in entries)
    return text_format.Parse(
        f"model_config_list {{ {text} }}", model_server_config_pb2.ModelServerConfig()
    )


def _label(label, version):
    return f'version_labels {{ key: "{label}" value: {version} }}'


def _reload(server, *entries, token=None):
    request = model_management_pb2.ReloadConfigRequest(config=_config(*entries))
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        response = stub.HandleReloadConfigRequest(request, timeout=60, metadata=metadata)
    assert response.status.error_code == 0


def test_rollback_by_label(release_folder, serve):
    server = serve()
    release_folder.publish(4, 1)
    _reload(server, f"{TWO_VERSIONS} {_label('stable', 4)} {_label('old', 3)}")
    assert _predict(server, "recall", label="stable").model_spec.version.value == 4
    assert _predict(server, "user_tower", label="old").model_spec.version.value == 3
    start = time.monotonic()
    _reload(server, f"{TWO_VERSIONS} {_label('stable', 3)}")
    response = _predict(server, "recall", label="stable")
    assert time.monotonic() - start < 2.0
    assert response.model_spec.version.value == 3
    ids = [i.decode() for i in to_numpy(response.outputs["item_ids"])[0]]
    expected = release_folder.catalogues[3].expected(["i3", "i7"], 20, removed=("i3", "i7"))
    assert ids == [item for item, _ in expected]
    assert _error_of(_predict, server, "recall", label="old") == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Unrecognized servable version label: old",
    )


def test_a_label_moves_before_the_version_it_named_goes(release_folder, serve):
    server = serve()
    release_folder.publish(4, 1)
    _reload(server, f"{TWO_VERSIONS} {_label('stable', 4)}")
    only_3 = f"{ONE_VERSION} model_version_policy {{ specific {{ versions: 3 }} }}"
    with server.model_server.use("recall", version=4):
        reload = threading.Thread(target=_reload, args=(server, f"{only_3} {_label('stable', 3)}"))
        reload.start()
        wait_for(lambda: _states(server)[4] == State.UNLOADING)
        for name in ("recall", "user_tower"):
            assert _predict(server, name, label="stable").model_spec.version.value == 3
    reload.join()
    assert _states(server) == {3: State.AVAILABLE, 4: State.END}


def test_a_label_of_a_version_that_is_not_served_changes_nothing(release_folder, serve):
    server = serve()
    _reload(server, f"{ONE_VERSION} {_label('stable', 3)}")
    code, details = _error_of(_reload, server, f"{ONE_VERSION} {_label('stable', 9)}")
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "version 9 of model user_tower, which is not currently available" in details
    assert _predict(server, "recall", label="stable").model_spec.version.value == 3


def test_a_policy_that_chooses_nothing_is_refused(release_folder, serve):
    server = serve()
    policy = "model_version_policy { specific { versions: 9 } }"
    code, details = _error_of(_reload, server, f"{ONE_VERSION} {policy}")
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "Some models did not become available" in details
    assert _predict(server, "recall").model_spec.version.value == 3
    release_folder.publish(4, 1)
    wait_for(lambda: _states(server).get(4) == State.AVAILABLE)


def test_a_model_beside_the_release_comes_and_goes(release_folder, serve):
    server = serve()
    other = f'name: "other" base_path: "{release_folder.path / "user_tower"}"'
    _reload(server, ONE_VERSION, other)
    expected = to_numpy(_predict(server, "user_tower").outputs["user_vectors"])
    answer = to_numpy(_predict(server, "other").outputs["user_vectors"])
    assert (answer == expected).all()
    missing = f'name: "missing" base_path: "{release_folder.path / "nothing"}"'
    code, details = _error_of(_reload, server, ONE_VERSION, other, missing)
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "no version of missing to serve" in details
    _reload(server, ONE_VERSION)
    assert _error_of(_predict, server, "other")[0] == grpc.StatusCode.NOT_FOUND
    assert server.model_server.is_ready()


def test_reload_needs_a_list_of_models_with_good_names(release_folder, serve):
    server = serve()
    code, details = _error_of(_reload, server, 'name: "../../etc" base_path: "/etc"')
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "is no name of a model" in details


def test_reload_needs_the_admin_token(release_folder, serve):
    server = serve(admin_token=TOKEN)
    assert _error_of(_reload, server, ONE_VERSION)[0] == grpc.StatusCode.UNAUTHENTICATED
    code, _ = _error_of(_reload, server, ONE_VERSION, token="f" * 16)
    assert code == grpc.StatusCode.PERMISSION_DENIED
    _reload(server, ONE_VERSION, token=TOKEN)


def test_configuration_at_the_start(release_folder, serve):
    release_folder.publish(4, 1)
    config = parse_config(
        _config(
            f"{TWO_VERSIONS} {_label('stable', 3)}",
            f'name: "other" base_path: "{release_folder.path / "item_tower"}"',
        ),
        RELEASE_MODELS,
    )
    server = serve(config=config, version_labels=("newest",))
    assert _states(server) == {3: State.AVAILABLE, 4: State.AVAILABLE}
    assert _states(server, "other") == {4: State.AVAILABLE}
    assert _predict(server, "recall", label="stable").model_spec.version.value == 3
    assert _predict(server, "recall", label="newest").model_spec.version.value == 4


@pytest.mark.slow
def test_memory_does_not_grow_with_swaps(release_folder, serve):
    def megabytes():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    server = serve(poll_s=0)
    for version in range(4, 29):
        release_folder.publish(version, version % 2)
        server._manager._release.refresh()
        assert _predict(server, "recall").model_spec.version.value == version
        release_folder.withdraw(version - 1)
        if version == 8:
            after_5 = megabytes()
    assert megabytes() < 1.1 * after_5


def test_old_versions_go_from_the_disk_but_not_the_one_that_is_loaded(release_folder, serve):
    server = serve(poll_s=0)  # Looks once: version 3 is what it serves.
    release_folder.publish(4, 0)
    release_folder.publish(5, 1)
    assert retention.remove_old_versions(release_folder.path, 1) == ([4], [3])
    answer = client.query(server.grpc_address, RecallRequest(("i3", "i7"), k=5), timeout_s=30)
    assert answer.index_version == 3
    server.stop()
    assert retention.remove_old_versions(release_folder.path, 1) == ([3], [])


def test_a_version_that_was_unloaded_may_be_removed(release_folder, serve):
    server = serve()
    release_folder.publish(4, 1)
    wait_for(lambda: _states(server)[3] == State.END)
    # END is told before the last reference is dropped.
    wait_for(lambda: retention.remove_old_versions(release_folder.path, 1).removed == [3])
    answer = client.query(server.grpc_address, RecallRequest(("i3", "i7"), k=5), timeout_s=30)
    assert answer.index_version == 4
