"""The socket under the HTTP door: what keeps it from being open is said."""

import socket

import pytest

from serving.doors.backend import Backend
from serving.http_door.api import HttpApi
from serving.http_door.server import HttpServer
from serving.models.model_server import ModelServer


def test_a_door_that_cannot_listen_says_so_and_can_be_stopped():
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = HttpServer(HttpApi(Backend(ModelServer())), [bound], shutdown_s=1)
    bound.close()
    with pytest.raises((OSError, ValueError)):
        server.start()
    server.stop()
