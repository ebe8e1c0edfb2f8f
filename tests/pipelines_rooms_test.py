"""The rooms of `pipelines/`: who may import whom, and where a new file belongs."""

import ast
import subprocess
import sys

import pytest

from pipelines.commands.table import COMMANDS
from tests import rooms

ROOMS = {
    "processes": set(),
    "progress": set(),
    "sources.columns": {"progress"},
    "sources.tables": {"sources.columns"},
    "sources": {"sources.columns", "sources.tables"},
    "artifacts": set(),
    "mirrors": {"artifacts"},
    "synthetic": {"sources", "progress"},
    "proposals": {"sources"},
    "ingestion.encoding": set(),
    "ingestion.events": {"sources", "artifacts", "ingestion.encoding"},
    "ingestion": {
        "sources",
        "synthetic",
        "artifacts",
        "progress",
        "ingestion.encoding",
        "ingestion.events",
    },
    "evaluation.rankers": set(),
    "evaluation": {"artifacts", "progress", "evaluation.rankers"},
    "evaluation.external": {"sources", "artifacts", "evaluation"},
    "training.placement": {"processes", "progress"},
    "training.epochs": {"artifacts", "evaluation", "progress", "training.placement"},
    "training": {
        "artifacts",
        "evaluation",
        "processes",
        "progress",
        "training.epochs",
        "training.placement",
    },
    "validation": {"artifacts"},
    "reporting.page": set(),
    "reporting.sections": {
        "artifacts",
        "ingestion",
        "evaluation",
        "validation",
        "reporting.page",
    },
    "reporting": {"evaluation", "reporting.page", "reporting.sections"},
    "publishing": {
        "sources",
        "artifacts",
        "ingestion",
        "evaluation",
        "training",
        "validation",
        "reporting",
        "progress",
    },
    "inference": {"sources", "artifacts", "ingestion", "progress"},
    "upkeep": {"sources", "artifacts", "ingestion", "progress"},
    "tracking": {"artifacts", "evaluation", "publishing", "reporting.page"},
    "tuning": {"processes", "publishing"},
    "experiments.grids": {"sources", "ingestion"},
    "experiments.outcomes": {
        "artifacts",
        "evaluation",
        "publishing",
        "reporting.page",
        "experiments.grids",
    },
    "experiments": {
        "processes",
        "sources",
        "artifacts",
        "synthetic",
        "ingestion",
        "evaluation",
        "training",
        "progress",
        "experiments.grids",
        "experiments.outcomes",
    },
    "tfx": {"sources", "artifacts", "ingestion", "evaluation", "publishing", "reporting"},
    "clients": {"sources", "publishing", "progress"},
    "commands.shared": {
        "sources",
        "artifacts",
        "mirrors",
        "ingestion",
        "inference",
        "clients",
        "progress",
    },
    "inspection": {"artifacts", "evaluation", "training", "progress"},
    "completion": {"commands.shared"},
    "commands": {
        "sources",
        "proposals",
        "synthetic",
        "artifacts",
        "ingestion",
        "upkeep",
        "evaluation",
        "training",
        "validation",
        "reporting",
        "publishing",
        "inference",
        "clients",
        "completion",
        "inspection",
        "tracking",
        "tuning",
        "experiments",
        "tfx",
        "commands.shared",
    },
    "api": {"processes", "artifacts", "evaluation", "publishing", "inference", "commands"},
}
"""Room -> rooms it may import, with the rooms inside those."""

TOP = {
    "cli.py": {"commands"},
    "entry.py": set(),
    "part.py": {"processes"},
    "tfx_trainer.py": {"training", "publishing"},
    "__init__.py": set(),
}
"""Files beside the rooms -> rooms they may import. Every other one is a door."""

STARTERS = ("entry.py", "part.py")
"""Those that call `cli.py`."""

DOOR_LINES = 8
HEAVY = ("tensorflow", "apache_beam", "scann", "pyarrow", "grpc")

FILES = rooms.files_of("pipelines")
AT_THE_TOP = [path for path in FILES if not rooms.room_of(path)]


def test_imports_go_to_rooms_that_the_table_allows():
    inside = (path for path in FILES if rooms.room_of(path))
    assert [
        wrong for path in inside for wrong in rooms.wrong_imports(path, "pipelines", ROOMS)
    ] == []


@pytest.mark.parametrize("path", AT_THE_TOP, ids=rooms.by_path)
def test_files_at_the_top_import_what_they_open(path):
    imported = set(rooms.imported_files(path, "pipelines"))
    at_the_top = {other for other in imported if not rooms.room_of(other)}
    if path.name in TOP:
        assert [other.name for other in at_the_top] == ["cli.py"] * (path.name in STARTERS)
        assert rooms.wrong_imports(path, "pipelines", {"": TOP[path.name]}) == []
    else:
        assert [other.name for other in imported] == ["entry.py"]


def test_rooms_allow_no_circle():
    assert rooms.find_circle_of_rooms(ROOMS) == []


def test_files_import_each_other_in_no_circle():
    assert rooms.find_circle_of_files("pipelines") == []


def test_every_folder_is_a_room_with_a_row():
    folders = {rooms.room_of(path) for path in FILES} - {""}
    assert folders == set(ROOMS)


@pytest.mark.parametrize("folder", rooms.folders_of("pipelines"), ids=rooms.by_path)
def test_folders_are_short_and_say_what_they_are(folder):
    if folder.name != "commands":  # It has a file per command, whose names people know.
        assert len(list(folder.glob("*.py"))) <= rooms.MAX_FILES
    if folder.name != "pipelines":
        tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
        assert ast.get_docstring(tree)
        assert len(tree.body) == 1, "a room's __init__.py imports nothing"


@pytest.mark.parametrize("path", AT_THE_TOP, ids=rooms.by_path)
def test_beside_the_rooms_are_doors(path):
    if path.name not in TOP:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= DOOR_LINES
        assert path.stem in COMMANDS


def test_one_file_per_command():
    files = {path.stem for path in (rooms.ROOT / "pipelines" / "commands").glob("*.py")}
    assert files == {*COMMANDS, "table", "__init__"}
    for name, module in COMMANDS.items():
        assert module.__name__ == f"pipelines.commands.{name}"


def test_the_commands_are_listed_without_anything_heavy():
    program = (
        "import sys, pipelines.commands.table; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=rooms.ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
