"""The parts of the system, in processes of their own, where the environment names a dead proxy."""

import os
import subprocess
import sys

import pytest

from recall.errors import InputError
from serving.api import client
from serving.api.recall_request import RecallRequest
from serving.index.shards import Shard
from serving.server import RecallServer
from tests.serving.category_release import write_release
from tests.serving.server_process import ROOT, ServerProcess


@pytest.fixture
def dead_proxy(monkeypatch):
    """An environment in which nothing is reached through the proxy."""
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY")
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def test_towers_shards_and_commands_are_reached_directly(dead_proxy, tmp_path):
    write_release(tmp_path / "release", 1, Shard(0, 1))
    with RecallServer(tmp_path / "release", grpc_port=0, http_port=0) as behind:
        front = ServerProcess(
            tmp_path / "release",
            tmp_path / "log",
            options={
                "tf_serving_address": behind.grpc_address,
                "shards": (behind.grpc_address,),
            },
        )
        try:
            answer = client.query(front.grpc_address, RecallRequest(("i3",), k=5))
            assert (answer.model_version, answer.degraded, len(answer.items)) == (1, False, 5)
            for server in (front.grpc_address, f"http://{front.http_address}"):
                words = ["query", f"--server={server}", "--history=i3", "--k=5"]
                done = subprocess.run(
                    [sys.executable, "-m", "pipelines.cli", *words],
                    cwd=ROOT,
                    env={"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ,
                    capture_output=True,
                    text=True,
                    timeout=120,
                )
                assert done.returncode == 0, done.stderr
                assert len(done.stdout.splitlines()) == 1 + 5 + 1
        finally:
            front.kill()


def test_the_proxy_is_dead(dead_proxy):
    """Else the test above could not fail."""
    import urllib.request

    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen("http://127.0.0.1:10/", timeout=5)
    with pytest.raises(InputError, match="No recall server answers"):
        client.query("127.0.0.1:10", RecallRequest(("i3",)))
