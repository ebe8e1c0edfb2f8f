"""Reloads of real SavedModels: the whole configuration changes, or nothing does."""

import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from recall.errors import InputError
from serving.models.config import NO_MODELS, ModelEntry, ServerConfig
from serving.models.manager import ModelManager
from serving.models.model_server import ModelServer
from serving.models.servable import State
from serving.models.sources import SavedModelSource
from serving.models.version_policy import ALL_VERSIONS, LATEST, VersionPolicy, specific_versions
from serving.monitoring.metrics import Metrics
from serving.protocol.status import Code, ServingError
from tests.waiting import wait_for

POLL_S = 0.02


class Constant(tf.Module):
    """Answers one number, whatever it is asked."""

    def __init__(self, number):
        super().__init__()
        self.number = tf.Variable(number)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def answer(self, x):
        return {"number": 0.0 * x + self.number}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """SavedModels by the number that they answer; do not change them."""
    folder = tmp_path_factory.mktemp("exported")
    for number in (1, 2, 3):
        model = Constant(float(number))
        signatures = {"serving_default": model.answer}
        tf.saved_model.save(model, str(folder / str(number)), signatures=signatures)
    return folder


@pytest.fixture
def publish(tmp_path, exported):
    """Puts a version that answers a number into a folder; returns the folder."""

    def publish(name, version, number):
        hidden = tmp_path / "hidden"
        shutil.copytree(exported / str(number), hidden)
        (tmp_path / name).mkdir(exist_ok=True)
        hidden.rename(tmp_path / name / str(version))
        return tmp_path / name

    return publish


@pytest.fixture
def server():
    return ModelServer()


@pytest.fixture
def manager(server, publish):
    """Serves a model `release` whose versions 1 and 2 answer 1 and 2."""
    publish("release", 1, 1)
    source = SavedModelSource("release", publish("release", 2, 2), Metrics())
    manager = ModelManager(server, source, Metrics(), NO_MODELS, poll_s=POLL_S)
    manager.start()
    yield manager
    manager.stop(timeout_s=1.0)


def _config(policy: VersionPolicy = LATEST, labels=(), **models) -> ServerConfig:
    """Of the release, and of models by name: a folder, or folder, policy and labels."""
    release = ModelEntry(None, policy, dict(labels))
    entries = {
        name: ModelEntry(*entry) if isinstance(entry, tuple) else ModelEntry(entry, LATEST, {})
        for name, entry in models.items()
    }
    return ServerConfig(release, entries)


def _answer(server, name, **spec):
    with server.use(name, **spec) as servable:
        return servable.predict("", {"x": np.zeros(1, np.float32)})["number"].item()


def _refusal(manager, config):
    with pytest.raises(ServingError) as caught:
        manager.reload(config)
    assert caught.value.code == Code.FAILED_PRECONDITION
    return caught.value.message


def test_another_folder_with_the_same_version_is_served(manager, server, publish):
    first, second = publish("first", 1, 1), publish("second", 1, 2)
    manager.reload(_config(m=(first, LATEST, {"stable": 1})))
    assert _answer(server, "m") == 1.0
    manager.reload(_config(m=(second, LATEST, {"stable": 1})))
    assert _answer(server, "m") == _answer(server, "m", label="stable") == 2.0
    publish("second", 2, 3)
    wait_for(lambda: _answer(server, "m") == 3.0)


def test_versions_of_the_old_folder_are_gone(manager, server, publish):
    manager.reload(_config(m=publish("first", 7, 1)))
    manager.reload(_config(m=publish("second", 1, 2)))
    assert server.states()["m"] == {1: State.AVAILABLE}
    manager.reload(_config())
    assert not server.knows("m")


def test_the_new_folder_answers_while_requests_still_use_the_old_one(manager, server, publish):
    first, second = publish("first", 1, 1), publish("second", 1, 2)
    manager.reload(_config(m=first))
    config = _config(m=(second, LATEST, {"stable": 1}))
    reload = threading.Thread(target=manager.reload, args=(config,))
    answers = set()
    with server.use("m") as used:
        reload.start()
        wait_for(lambda: answers.add(_answer(server, "m")) or 2.0 in answers)
        assert _answer(server, "m", label="stable") == 2.0
        assert used.predict("", {"x": np.zeros(1, np.float32)})["number"].item() == 1.0
        assert reload.is_alive()  # It waits for the request.
    reload.join(10.0)
    assert not reload.is_alive()
    assert answers <= {1.0, 2.0}


@pytest.mark.parametrize("fault", ["empty", "damaged", "label"])
def test_another_folder_that_cannot_be_served_leaves_the_old_one(manager, server, publish, fault):
    first, second = publish("first", 1, 1), publish("second", 1, 2)
    manager.reload(_config(m=(first, LATEST, {"stable": 1})))
    served = server.find("m")
    if fault == "empty":
        shutil.rmtree(second / "1")
    if fault == "damaged":
        (second / "1" / "saved_model.pb").write_bytes(b"no model")
    labels = {"stable": 2 if fault == "label" else 1}
    message = _refusal(manager, _config(m=(second, LATEST, labels)))
    expected = {
        "empty": "There is no version of m to serve",
        "damaged": "1 holds no SavedModel",
        "label": "version 2 of model m, which is not currently available",
    }
    assert expected[fault] in message
    assert server.find("m") is server.find("m", label="stable") is served
    assert server.states()["m"] == {1: State.AVAILABLE}
    publish("first", 2, 3)
    wait_for(lambda: _answer(server, "m") == 3.0)


def test_a_refused_reload_changes_nothing(manager, server, publish, tmp_path):
    other = publish("other", 1, 3)
    manager.reload(_config(ALL_VERSIONS, {"stable": 2}, other=other))
    served = [server.find("release", 1), server.find("release", 2), server.find("other", 1)]
    only_1 = specific_versions([1])
    refused = [
        _config(only_1, {"stable": 2}),
        _config(only_1, {"stable": 1}, missing=tmp_path / "missing"),
        _config(only_1, {"stable": 1}, late=(other, LATEST, {"stable": 2})),
        _config(specific_versions([9]), {}, late=other),
    ]
    for config in refused:
        _refusal(manager, config)
        found = [server.find("release", 1), server.find("release", 2), server.find("other", 1)]
        assert found == served
        assert server.find("release", label="stable") is served[1]
        assert set(server.states()) == {"release", "other"}
    publish("release", 3, 3)
    wait_for(lambda: server.states()["release"].get(3) == State.AVAILABLE)  # Still all.


def test_what_was_loaded_for_a_refused_reload_goes(manager, server, tmp_path):
    assert server.states()["release"] == {2: State.AVAILABLE}
    _refusal(manager, _config(ALL_VERSIONS, missing=tmp_path / "missing"))
    assert server.states()["release"] == {1: State.END, 2: State.AVAILABLE}


def test_a_label_of_a_model_moves_before_the_version_it_named_goes(manager, server, publish):
    publish("m", 1, 1)
    folder = publish("m", 2, 2)
    manager.reload(_config(m=(folder, ALL_VERSIONS, {"stable": 2})))
    config = _config(m=(folder, specific_versions([1]), {"stable": 1}))
    reload = threading.Thread(target=manager.reload, args=(config,))
    with server.use("m", version=2):
        reload.start()
        wait_for(lambda: server.states()["m"][2] == State.UNLOADING)
        assert _answer(server, "m", label="stable") == 1.0
    reload.join(10.0)
    assert server.states()["m"] == {1: State.AVAILABLE, 2: State.END}


@pytest.fixture
def start(server, publish):
    """Starts a manager of version 1 of the release, and of other models."""
    managers = []

    def start(config, metrics=None):
        metrics = metrics or Metrics()
        source = SavedModelSource("release", publish("release", 1, 1), metrics)
        managers.append(ModelManager(server, source, metrics, config, poll_s=POLL_S))
        managers[-1].start()
        return managers[-1]

    yield start
    for manager in managers:
        manager.stop(timeout_s=1.0)


def _break(folder, version):
    (folder / str(version)).mkdir(parents=True)
    (folder / str(version) / "saved_model.pb").write_bytes(b"no model" * 10)


@pytest.mark.parametrize("state", ["no folder", "empty", "not chosen", "broken"])
def test_a_model_without_a_version_does_not_stop_the_others(
    tmp_path, server, publish, start, state, caplog
):
    folder, policy = tmp_path / "late", LATEST
    if state != "no folder":
        folder.mkdir()
    if state == "not chosen":
        publish("late", 1, 1)
        policy = specific_versions([7])
    if state == "broken":
        _break(folder, 1)
    start(_config(late=(folder, policy, {}), good=publish("good", 4, 2)))
    assert _answer(server, "release") == 1.0
    assert _answer(server, "good") == 2.0
    assert server.is_ready()
    assert server.knows("late")
    assert server.states()["late"] == ({1: State.END} if state == "broken" else {})
    if state == "broken":
        assert "no SavedModel that can be loaded" in server.status("late")[0].message
    else:
        with pytest.raises(ServingError) as caught:
            server.status("late")
        assert caught.value.code == Code.NOT_FOUND
        assert caught.value.message.startswith("Could not find any versions of model late: There")
    time.sleep(5 * POLL_S)
    told = [message for message in caplog.messages if message.startswith("Model late: ")]
    assert len(told) == 1, told
    assert told[0].endswith("It is looked for again.")
    publish("late", 7, 3)
    wait_for(lambda: server.states()["late"].get(7) == State.AVAILABLE)
    assert _answer(server, "late") == 3.0
    assert server.is_ready()


def test_a_folder_that_cannot_be_read_is_said_once_and_ends_nothing(
    tmp_path, server, publish, start, caplog
):
    good = publish("good", 4, 2)
    start(_config(good=good))
    moved = good.rename(tmp_path / "moved")
    good.symlink_to(good)  # A loop of links cannot be listed.
    wait_for(lambda: any("Cannot read the folder" in message for message in caplog.messages))
    time.sleep(5 * POLL_S)
    assert sum("Cannot read the folder" in message for message in caplog.messages) == 1
    assert _answer(server, "good") == 2.0
    good.unlink()
    moved.rename(good)
    publish("good", 5, 3)
    wait_for(lambda: _answer(server, "good") == 3.0)


def test_the_release_itself_must_have_a_version(tmp_path, server):
    (tmp_path / "release").mkdir()
    source = SavedModelSource("release", tmp_path / "release", Metrics())
    manager = ModelManager(server, source, Metrics(), NO_MODELS, poll_s=POLL_S)
    with pytest.raises(InputError, match="no version of release to serve"):
        manager.start()


def test_a_reload_around_a_missing_model(tmp_path, server, publish, start):
    late = tmp_path / "late"
    manager = start(_config(late=late))
    manager.reload(_config(late=late, good=publish("good", 4, 2)))  # No worse than before.
    assert _answer(server, "good") == 2.0
    assert "no version of other" in _refusal(manager, _config(late=late, other=tmp_path / "other"))
    assert not server.knows("other")
    elsewhere = publish("elsewhere", 2, 3)
    manager.reload(_config(late=elsewhere))
    assert _answer(server, "late") == 3.0
    manager.reload(_config())
    assert not server.knows("late")


@pytest.mark.parametrize("name", ["99999999999999999999", "9223372036854775808", "-1", "1_0"])
def test_a_name_that_is_no_version_ends_nothing(manager, server, publish, exported, name):
    folder = publish("m", 1, 3)
    manager.reload(_config(m=folder))
    for parent in (folder, folder.parent / "release"):
        shutil.copytree(exported / "1", parent / name)
    time.sleep(5 * POLL_S)
    assert server.states() == {"m": {1: State.AVAILABLE}, "release": {2: State.AVAILABLE}}
    assert _answer(server, "m") == 3.0


def test_zeros_in_front_of_a_version(manager, server, publish):
    manager.reload(_config(m=publish("m", "00000123", 3)))
    assert server.states()["m"] == {123: State.AVAILABLE}
    assert _answer(server, "m", version=123) == 3.0
