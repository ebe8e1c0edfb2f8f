"""The rooms of a package: the folders of its files, what they import, and what goes in a circle."""

import ast
import functools
import graphlib
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAX_FILES = 18
"""Files that a folder may hold; a list that is longer is searched, not read."""


def by_path(path: Path) -> str:
    """A path from the root of the repository."""
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """The dotted name of a file; of a folder's `__init__.py` the folder's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache  # Most files are asked for by each command and each room that imports them.
def imported_modules(path: Path, *, also_for_types: bool = True) -> tuple[str, ...]:
    """Every module a file imports, also inside functions; `from a import b` gives `a.b`.

    Args:
        path: Of the file.
        also_for_types: Whether those below `if TYPE_CHECKING:` count, which are not there
            when it runs.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not also_for_types:
        tree.body = [node for node in tree.body if not _is_for_types(node)]
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def files_of(package: str) -> list[Path]:
    """All files of a package, in an order that stays."""
    return sorted((ROOT / package).rglob("*.py"))


def folders_of(package: str) -> list[Path]:
    """The folders of a package that hold files, the package itself among them."""
    return sorted({path.parent for path in files_of(package)})


def room_of(path: Path) -> str:
    """The folder of a file, from its package, with dots; "" at the top of the package."""
    return ".".join(path.relative_to(ROOT).parts[1:-1])


@functools.cache
def imported_files(path: Path, package: str, *, also_for_types: bool = True) -> tuple[Path, ...]:
    """The files of the package that a file imports; see `imported_modules`."""
    files: list[Path] = []
    for module in imported_modules(path, also_for_types=also_for_types):
        parts = module.split(".")
        if parts[0] != package:
            continue
        for length in (len(parts), len(parts) - 1):
            found = ROOT.joinpath(*parts[:length]).with_suffix(".py")
            if found.exists():
                files.append(found)
                break
    return tuple(files)


def wrong_imports(path: Path, package: str, table: Mapping[str, set[str]]) -> list[str]:
    """Imports of a file that go to rooms which its row does not name.

    Args:
        path: The file.
        package: Its package.
        table: Room -> rooms it may import; a room stands for the rooms inside it too. "" is the
            top of the package.
    """
    own = room_of(path)
    return [
        f"{by_path(path)} imports {by_path(other)}"
        for other in imported_files(path, package)
        if (room := room_of(other)) != own and not _is_inside(room, table[own])
    ]


def _is_inside(room: str, names: Iterable[str]) -> bool:
    return any(room == name or room.startswith(f"{name}.") for name in names)


def find_circle_of_rooms(table: Mapping[str, set[str]]) -> list[str]:
    """Rooms that may import each other in a circle, [] if there are none."""
    return _find_circle(
        {
            room: {other for other in table if other != room and _is_inside(other, allowed)}
            for room, allowed in table.items()
        }
    )


def find_circle_of_files(package: str) -> list[str]:
    """Files of a package that import each other in a circle, [] if there are none."""
    return _find_circle(
        {by_path(p): {by_path(o) for o in imported_files(p, package)} for p in files_of(package)}
    )


def _find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []
