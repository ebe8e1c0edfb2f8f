"""`recall.serve`: a real process, asked by clients."""

import socket

import pytest

import recall


def test_a_run_is_served_and_asked(fitted):
    expected = fitted.recommend(histories=[["1", "2"]], k=5).item_id.tolist()
    with fitted.serve() as server:
        for client in (server.client(), recall.Client(server.http_address)):
            with client:
                answer = client.recommend(["1", "2"], k=5)
                assert [item.item_id for item in answer.items] == expected
                assert answer.model_version == fitted.version
        assert server.address in repr(server)
    assert "stopped" in repr(server)
    with pytest.raises(recall.CallError, match="No recall server answers"):
        recall.Client(server.address, retries=recall.RetryPolicy(1)).recommend(["1"])
    server.stop()


def test_a_server_that_cannot_start_says_why(fitted, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(recall.InputError, match=str(port)):
            recall.serve(fitted.path, http_port=port)
    with pytest.raises(recall.InputError, match="is no folder"):
        recall.serve(tmp_path / "missing")
    with pytest.raises(recall.InputError, match="unknown flag --colour"):
        recall.serve(fitted, colour="red")
