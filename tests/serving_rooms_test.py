"""The rooms of `serving/`: which folders there are, and which of the others each may import."""

import ast

import pytest

from tests.rooms import (
    MAX_FILES,
    by_path,
    files_of,
    find_circle_of_files,
    find_circle_of_rooms,
    folders_of,
    room_of,
    wrong_imports,
)

SERVING_ROOMS = {
    "protocol": set(),
    "network": set(),
    "stores": set(),
    "release": {"protocol", "stores"},
    "batching": {"protocol"},
    "monitoring": {"protocol", "batching"},
    "api": {"protocol", "network"},
    "index": {"release"},
    "models": {"protocol", "release", "batching", "monitoring"},
    "retrieval": {"protocol", "batching", "api", "index"},
    "live": {"protocol", "release", "api", "index"},
    "sharding": {"protocol", "network", "api", "index", "retrieval"},
    "servables": {
        "protocol",
        "network",
        "stores",
        "release",
        "batching",
        "monitoring",
        "api",
        "index",
        "models",
        "retrieval",
        "live",
        "sharding",
    },
    "doors": {"protocol", "network", "monitoring", "api", "models"},
    "grpc_door": {"protocol", "monitoring", "models", "doors"},
    "openapi": {"api"},
    "http_door": {"openapi", "protocol", "network", "monitoring", "api", "doors"},
}
"""Room -> rooms it may import. No room imports a file at the top of `serving/`."""

TABLE = {**SERVING_ROOMS, "": set(SERVING_ROOMS)}
"""With the top: the process, which puts the rooms together."""

TOP = {
    "__init__.py",
    "server.py",
    "server_doors.py",
    "server_options.py",
    "server_process.py",
    "server_secrets.py",
}


def test_rooms_import_only_what_their_row_names():
    files = files_of("serving")
    assert [wrong for path in files for wrong in wrong_imports(path, "serving", TABLE)] == []


def test_rooms_are_in_no_circle():
    assert find_circle_of_rooms(TABLE) == []


def test_files_are_in_no_circle():
    assert find_circle_of_files("serving") == []


@pytest.mark.parametrize("folder", folders_of("serving"), ids=by_path)
def test_folders_have_a_row_a_caption_and_few_files(folder):
    files = sorted(folder.glob("*.py"))
    assert room_of(files[0]) in TABLE
    assert len(files) <= MAX_FILES
    if folder.name != "serving":
        tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        assert ast.get_docstring(tree)
        assert len(tree.body) == 1, "a room's __init__.py imports nothing"


def test_every_row_is_a_folder():
    assert {room_of(path) for path in files_of("serving")} == set(TABLE)


def test_the_top_is_the_process_alone():
    assert {path.name for path in files_of("serving") if not room_of(path)} == TOP
