"""`recall[client]`, installed from the package registry beside nothing else: no NumPy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.wheel_test import ROOT, execute, wheel  # noqa: F401  a fixture
from tests.packaging_test import PINS
from tests.serving.category_release import write_release
from tests.serving.server_process import ServerProcess

pytestmark = pytest.mark.slow

MAX_MEGABYTES = 40
"""Of what pip puts into an empty environment: 32, of which 19 are gRPC's."""

_PROGRAM = """
import asyncio, sys, recall

address = sys.argv[1]
with recall.Client(address) as client:
    answer = client.recommend(["i0", "i7"], k=3, with_metadata=True)
    vectors = client.user_vectors([["i0", "i7"]]).user_vectors[0]
    again = client.recommend(user_vectors=vectors, k=3, exclude=["i0", "i7"])
    similar = client.similar_items(["i0"], k=2).item_ids
    found = [item.item_id for item in client.search_items("i7", k=1)]

async def ask():
    async with recall.AsyncClient(address) as client:
        return await asyncio.gather(*(client.recommend(["i0", "i7"], k=3) for _ in range(4)))

answers = asyncio.run(ask())
assert all(a.item_ids == answer.item_ids == again.item_ids for a in answers)
assert len(answer.item_ids) == 3 and len(similar) == 2 and found == ["i7"]
print(*answer.item_ids, *(name in sys.modules for name in ("numpy", "tensorflow")))
"""


@pytest.fixture(scope="module")
def client(wheel, tmp_path_factory):  # noqa: F811
    """The bin folder of an environment with the extra and nothing else."""
    folder = tmp_path_factory.mktemp("client")
    execute([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], cwd=folder)
    install = [sys.executable, "-m", "pip", "--python", folder / "venv" / "bin" / "python"]
    install += ["install", "--quiet", "--constraint", ROOT / PINS, f"{wheel}[client]"]
    execute(install, cwd=folder)
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    write_release(folder, 1)
    server = ServerProcess(folder, folder / "server.log")
    yield server
    server.kill()


def packages_of(client: Path) -> Path:
    (folder,) = client.parent.glob("lib/python3.*/site-packages")
    return folder


def test_it_is_small(client):
    files = [path for path in packages_of(client).rglob("*") if path.is_file()]
    sizes = {}
    for path in files:
        top = path.relative_to(packages_of(client)).parts[0]
        sizes[top] = sizes.get(top, 0) + path.stat().st_size / 1e6
    assert sum(sizes.values()) <= MAX_MEGABYTES, sorted(sizes.items(), key=lambda item: -item[1])
    assert not {"numpy", "tensorflow", "pyarrow", "scann"} & set(sizes)


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_a_query(client, server, door, tmp_path):
    address = server.grpc_address if door == "grpc" else f"http://{server.http_address}"
    words = [client / "recall", "query", f"--server={address}", "--history=i0,i7", "--k=3"]
    answer = execute(words, cwd=tmp_path)
    assert sum(line.lstrip().split(" ")[0] in "123" for line in answer.splitlines() if line) >= 3


def test_programs_that_ask(client, server, tmp_path):
    """Threads and coroutines, over both doors."""
    answers = [
        execute([client / "python", "-c", _PROGRAM, address], cwd=tmp_path)
        for address in (server.grpc_address, f"http://{server.http_address}")
    ]
    assert answers[0] == answers[1]
    assert answers[0].endswith(" False False\n")


def test_help_and_import(client, tmp_path):
    assert "--history" in execute([client / "recall", "query", "--help"], cwd=tmp_path)
    program = "import recall, sys; print(recall.__version__, 'tensorflow' in sys.modules)"
    assert execute([client / "python", "-c", program], cwd=tmp_path) == "0.1.0 False\n"


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["serve", "--release=."], "serve"),
        (["run", "--events=synthetic:users=9", "--output=out"], "train"),
    ],
)
def test_what_other_commands_need_is_one_line(client, words, extra, tmp_path):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [client / "recall", *words], cwd=tmp_path, env=kept, capture_output=True, text=True
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"recall {words[0]}: error: ")
    assert line.endswith(f"pip install 'recall[{extra}]'.")
