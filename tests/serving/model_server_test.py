from typing import ClassVar

import pytest

from serving.model_server import ModelServer, State
from serving.status import Code, ServingError


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


def test_not_found_before_it_is_warm(server):
    expected = (Code.NOT_FOUND, "Servable not found for request: Latest(m)")
    assert _error(server.find, "m") == expected
    with pytest.raises(ValueError, match="cold"):
        _load(server, error=ValueError("cold"))
    assert _error(server.find, "m") == expected
    assert server.status("m") == [(3, State.END, Code.UNKNOWN, "cold")]


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
