"""`recall query` as a process: quick, because it imports little."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.server import RecallServer
from tests.serving.conftest import TinyCatalogue, write_release

ROOT = Path(__file__).parents[3]
HEAVY = ("tensorflow", "tf_keras", "keras", "apache_beam", "pyarrow", "scann", "pandas", "polars")


@pytest.fixture(scope="module")
def published_server(tmp_path_factory):
    serving_dir = tmp_path_factory.mktemp("serving")
    write_release(serving_dir, TinyCatalogue(), 1)
    with RecallServer(serving_dir, grpc_port=0, http_port=0) as server:
        yield server


def modules_after(*words: str) -> tuple[str, list[str]]:
    """What the command prints, and what it imported."""
    program = (
        "import sys; from pipelines import cli; code = cli.main(sys.argv[1:]); "
        "print(code, *sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    *printed, last = result.stdout.splitlines()
    code, *modules = last.split()
    assert code == "0", result.stderr
    return "\n".join(printed), modules


def commands_of(modules: list[str]) -> set[str]:
    """Files of `pipelines/commands` among modules; the table tells completion who knows all."""
    found = {n.removeprefix("pipelines.commands.") for n in modules if "pipelines.commands." in n}
    return {name for name in found if not name.startswith("shared")}


@pytest.mark.parametrize("door", ["grpc", "http"])
def test_a_query_imports_no_job_and_nothing_heavy(door, published_server):
    address = published_server.grpc_address
    if door == "http":
        address = f"http://{published_server.http_address}"
    printed, modules = modules_after("query", f"--server={address}", "--history=i3", "--k=2")
    assert "rank" in printed
    assert [name for name in HEAVY if name in modules] == []
    assert commands_of(modules) == {"table", "completion", "query"}
    assert not any(name.startswith("pipelines.training") for name in modules)


def test_the_help_of_a_command_imports_that_command_alone():
    _, modules = modules_after("query", "--help")
    assert commands_of(modules) == {"table", "completion", "query"}
    assert [name for name in (*HEAVY, "numpy", "grpc", "httpcore") if name in modules] == []
