import threading
from typing import ClassVar

import pytest

from serving.models.model_server import ModelServer, State
from serving.protocol.status import Code, ServingError
from tests.waiting import wait_for


class FakeModel:
    """A servable that only knows its name, and looks at its state while it warms up."""

    signature_defs: ClassVar = {}

    def __init__(self, server, name, version, error=None):
        self.server, self.name, self.version, self.error = server, name, version, error
        self.states_seen = []

    def predict(self, signature_name, inputs, output_filter=(), *, timeout_s=None):
        return {}

    def warm_up(self):
        self.states_seen = [self.server.status(self.name)[0].state, self.server.is_ready()]
        if self.error:
            raise self.error


def _load(server, name="m", version=3, error=None):
    return server.load(name, version, lambda: FakeModel(server, name, version, error))


@pytest.fixture
def server():
    server = ModelServer()
    server.announce("m", 3)
    return server


def _error(function, *arguments, **named):
    with pytest.raises(ServingError) as caught:
        function(*arguments, **named)
    return caught.value.code, caught.value.message


def test_states_of_a_load(server):
    assert server.status("m") == [(3, State.START, Code.OK, "")]
    servable = _load(server)
    assert servable.states_seen == [State.LOADING, False]
    assert server.status("m") == [(3, State.AVAILABLE, Code.OK, "")]
    assert server.is_ready()
    server.unload(["m"], 3)
    assert server.status("m") == [(3, State.END, Code.OK, "")]
    assert not server.is_ready()


def test_unavailable_before_it_is_warm_and_not_found_if_it_failed(server):
    not_found = (Code.NOT_FOUND, "Servable not found for request: Latest(m)")
    assert _error(server.find, "m") == (Code.UNAVAILABLE, "m is being loaded; try again later.")
    assert _error(server.find, "m", version=3)[0] == Code.NOT_FOUND  # As TF Serving says it.
    assert _error(server.find, "x")[0] == Code.NOT_FOUND
    with pytest.raises(ValueError, match="cold"):
        _load(server, error=ValueError("cold"))
    assert _error(server.find, "m") == not_found
    assert server.status("m") == [(3, State.END, Code.UNKNOWN, "cold")]
    server.announce("m", 4)
    assert _error(server.find, "m")[0] == Code.UNAVAILABLE


def test_unavailable_while_the_server_starts():
    server = ModelServer()
    with server.starting():
        assert _error(server.find, "m")[0] == Code.UNAVAILABLE
        server.announce("m", 3)
        _load(server)
        assert server.find("m").version == 3
    assert _error(server.find, "x")[0] == Code.NOT_FOUND


def test_error_code_of_a_failed_load_is_kept(server):
    with pytest.raises(ServingError):
        _load(server, error=ServingError(Code.DATA_LOSS, "bad"))
    assert server.status("m")[0].code == Code.DATA_LOSS


def test_ready_needs_every_announced_model(server):
    assert not ModelServer().is_ready()
    server.announce("n", 1)
    _load(server)
    assert not server.is_ready()
    _load(server, "n", 1)
    assert server.is_ready()
    server.drain()
    assert not server.is_ready()
    assert server.find("m").version == 3  # still answers


def test_find_by_version_and_label(server):
    servable = _load(server)
    server.set_labels("m", {"stable": 3})
    assert server.find("m") is servable
    assert server.find("m", version=3) is servable
    assert server.find("m", label="stable") is servable
    assert server.status("m", label="stable") == server.status("m")


def test_highest_version_is_the_default(server):
    server.announce("m", 12)
    _load(server)
    _load(server, version=12)
    assert server.find("m").version == 12
    assert [status.version for status in server.status("m")] == [12, 3]


def test_errors_have_tf_servings_texts(server):
    _load(server)
    assert _error(server.find, "") == (
        Code.INVALID_ARGUMENT,
        "ModelSpec has no name specified.",
    )
    assert _error(server.find, "m", version=4) == (
        Code.NOT_FOUND,
        "Servable not found for request: Specific(m, 4)",
    )
    assert _error(server.find, "x") == (
        Code.NOT_FOUND,
        "Servable not found for request: Latest(x)",
    )
    assert _error(server.find, "m", label="canary") == (
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: canary",
    )
    assert _error(server.status, "m", version=4) == (
        Code.NOT_FOUND,
        "Could not find version 4 of model m",
    )
    assert _error(server.status, "x") == (
        Code.NOT_FOUND,
        "Could not find any versions of model x",
    )


def test_label_needs_an_available_version(server):
    code, message = _error(server.set_labels, "m", {"stable": 3})
    assert code == Code.FAILED_PRECONDITION
    assert "not currently available" in message


def test_models_of_one_release_become_available_at_once(server):
    server.announce("n", 3)
    states = []

    def load():
        models = {name: FakeModel(server, name, 3) for name in ("m", "n")}
        models["n"].warm_up = lambda: states.append(server.states())
        return models

    server.load_together(["m", "n"], 3, load)
    assert states == [{"m": {3: State.LOADING}, "n": {3: State.LOADING}}]
    assert server.states() == {"m": {3: State.AVAILABLE}, "n": {3: State.AVAILABLE}}


def test_a_failed_warm_up_ends_all_models_of_the_release(server):
    server.announce("n", 3)

    def load():
        return {
            "m": FakeModel(server, "m", 3),
            "n": FakeModel(server, "n", 3, ValueError("cold")),
        }

    with pytest.raises(ValueError, match="cold"):
        server.load_together(["m", "n"], 3, load)
    assert server.status("m") == server.status("n") == [(3, State.END, Code.UNKNOWN, "cold")]


def test_unload_waits_for_users_but_not_for_ever(server):
    servable = _load(server)
    with server.use("m") as used:
        assert used is servable
        server.unload(["m"], 3, timeout_s=0.05)
        assert server.status("m")[0].state == State.END
    assert _error(server.find, "m")[0] == Code.NOT_FOUND


def test_a_model_added_later_does_not_make_the_server_unready(server):
    _load(server)
    assert server.is_ready()
    server.announce("late", 1)
    assert server.is_ready()
    server.forget("late")
    assert "late" not in server.states()


def test_a_model_is_exchanged_with_its_labels_in_one_step(server):
    old = _load(server)
    server.set_labels("m", {"stable": 3, "old": 3})
    beside = server.beside()
    beside.announce("m", 3)
    new = _load(beside)
    beside.set_labels("m", {"stable": 3})
    assert server.find("m") is old
    server.exchange("m", beside)
    assert server.find("m", label="stable") is new
    assert beside.find("m", label="old") is old
    assert _error(server.find, "m", label="old")[0] == Code.INVALID_ARGUMENT


def test_an_exchanged_version_goes_when_its_last_request_ends(server):
    _load(server)
    beside = server.beside()
    server.exchange("m", beside)
    assert _error(server.find, "m")[0] == Code.NOT_FOUND
    server.exchange("m", beside)
    with server.use("m"):
        server.exchange("m", beside)
        unload = threading.Thread(target=beside.unload, args=(["m"], 3))
        unload.start()
        wait_for(lambda: beside.states()["m"] == {3: State.UNLOADING})
    unload.join(10.0)  # Without a word from the request's server it would wait for ever.
    assert not unload.is_alive()
    assert beside.states()["m"] == {3: State.END}


def test_the_list_of_ended_versions_is_bounded(server):
    for version in range(100, 150):
        server.announce("m", version)
        with pytest.raises(ValueError, match="cold"):
            _load(server, version=version, error=ValueError("cold"))
    assert len(server.status("m")) <= 22
