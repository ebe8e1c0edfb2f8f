"""The rules of the house: who may import whom, what needs no TensorFlow, what is never done.

A rule is one test over all files: one for each of them took longer to report than to look.
"""

import ast
import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import recall
from tests.rooms import ROOT, by_path, files_of, imported_modules, module_name

PACKAGES = ("recall", "serving", "pipelines")
MAX_LINES = 330
"""STYLE asks for about 250; a file above this one has a second idea in it."""

MAX_FUNCTION_LINES = 50
"""A screen; the docstring is not counted. A longer function has steps that deserve names."""

SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

LIBRARY_RANKS = {
    "errors": 0,
    "legacy_keras": 0,
    "datasets": 0,
    "replicas": 1,
    "gradient_exchange": 2,
    "item_ids": 1,
    "vocabulary": 3,
    "categories": 1,
    "plain_values": 1,
    "thresholds": 1,
    "feature_columns": 2,
    "settings": 2,
    "ragged": 4,
    "config": 3,
    "features": 4,
    "layers": 5,
    "losses": 5,
    "metrics": 5,
    "optimizers": 5,
    "item_tower": 6,
    "towers": 7,
    "models": 8,
}
"""Inside `recall` an import goes to a lower rank, or stays in its own folder."""

SERVING_MAY_USE = {
    "errors",
    "item_ids",
    "vocabulary",
    "categories",
    "config",
    "datasets",
    "feature_columns",
}
"""Parts of `recall` every serving file may use; the model itself only the exporter may."""

MODEL_IN_SERVING = {
    "serving/release/export.py",
    "serving/release/tower_context.py",
    "serving/release/tower_modules.py",
    "serving/release/warmup_requests.py",
}

WITHOUT_TENSORFLOW = (
    "recall",
    "recall.config",
    "recall.errors",
    "recall.vocabulary",
    "serving.index.bundle",
    "serving.index.item_index",
    "serving.retrieval.service",
    "serving.release.storage",
    "pipelines.artifacts.records",
    "pipelines.cli",
    "pipelines.commands.table",
    "pipelines.ingestion.sequences",
    "pipelines.ingestion.open_log",
)
"""Promised by the design; files that say so in their docstring are added below."""


DOOR_FOR_PEOPLE = ROOT / "recall" / "__init__.py"
"""The one exception to the direction of imports: it reaches `serving` and `pipelines` lazily."""


def imports_of(paths) -> list[tuple[str, list[str], list[str]]]:
    """Of each import: its file, and the parts of the module's name and of that which it imports."""
    return [
        (by_path(path), module_name(path).split("."), module.split("."))
        for path in paths
        for module in imported_modules(path)
    ]


def test_imports_point_one_way():
    """The door for people apart: the tests below say what it may do instead."""
    sources = [path for path in SOURCES if path != DOOR_FOR_PEOPLE]
    order = [*PACKAGES, "tests"]
    wrong = [
        f"{path} imports {'.'.join(parts)}"
        for path, own, parts in imports_of(sources)
        if parts[0] in order and order.index(parts[0]) > order.index(own[0])
    ]
    assert wrong == []


def test_the_door_for_people_imports_nothing_of_ours_when_it_is_imported():
    """By its text: what it names of ours is for type checkers; by a process: nothing is there."""
    tree = ast.parse(DOOR_FOR_PEOPLE.read_text(encoding="utf-8"))
    at_import = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        name.split(".")[0]
        for node in at_import
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names]
        )
    }
    assert names <= sys.stdlib_module_names
    program = (
        "import sys, recall; print([m for m in sys.modules if m.split('.')[0] in "
        "('serving', 'pipelines', 'tensorflow', 'numpy', 'pyarrow', 'grpc') or 'recall.' in m])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_door_for_people_says_the_same_three_times():
    """What is exported, where each name is at run time, and where for type checkers."""
    tree = ast.parse(DOOR_FOR_PEOPLE.read_text(encoding="utf-8"))
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(typed.test) == "TYPE_CHECKING"
    homes = {name.name: node.module for node in typed.body for name in node.names}
    assert homes == recall._HOMES
    assert sorted(recall.__all__) == sorted(homes)
    assert set(recall.__all__) <= set(dir(recall))
    for name, home in homes.items():
        value = getattr(recall, name)
        assert value is getattr(importlib.import_module(home), name)
        assert value.__doc__, f"recall.{name} has no docstring"
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        recall.no_such_name  # noqa: B018


def test_the_library_is_layered():
    sources = [path for path in files_of("recall") if path != DOOR_FOR_PEOPLE]
    assert {module_name(path).split(".")[1] for path in sources} == set(LIBRARY_RANKS)
    wrong = [
        f"{path} imports {'.'.join(parts)}"
        for path, own, parts in imports_of(sources)
        if parts[0] == "recall" and len(parts) > 1 and parts[1] != own[1]
        if LIBRARY_RANKS[parts[1]] >= LIBRARY_RANKS[own[1]]
    ]
    assert wrong == []


def test_the_page_has_the_ranks_of_the_library():
    page = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    text = re.search(r"^- Inside `recall`: ([^.]+)\.", page, re.MULTILINE)[1]
    said = [set(re.findall(r"\w+", part)) for part in text.split("<-")]
    ranks = sorted(set(LIBRARY_RANKS.values()))
    assert said == [{n for n, r in LIBRARY_RANKS.items() if r == rank} for rank in ranks]


def test_only_the_exporter_knows_the_model():
    wrong = [
        f"{path} imports {'.'.join(parts)}"
        for path, _, parts in imports_of(files_of("serving"))
        if path not in MODEL_IN_SERVING and parts[0] == "recall" and len(parts) > 1
        if parts[1] not in SERVING_MAY_USE
    ]
    assert wrong == []


def sources_with(pattern: str) -> list[Path]:
    return [path for path in SOURCES if re.search(pattern, path.read_text(encoding="utf-8"))]


def test_streams_that_are_read_have_no_tuning_thread():
    """Whoever ends such a stream may wait a minute: see `recall.datasets`."""
    opened = sources_with(r"tf\.data\.(?:TFRecordDataset|Dataset\.from_generator)\(")
    assert len(opened) > 1
    assert set(opened) <= set(sources_with(r"without_tuning\("))


def test_flags_are_defined_by_the_command_alone():
    assert list(map(by_path, sources_with("DEFINE_"))) == ["pipelines/commands/shared/flags.py"]


WITHOUT_NUMPY = r"\bneither\s+TensorFlow\s+nor\s+NumPy\b"


def modules_that_say(pattern: str) -> set[str]:
    return {
        module_name(path)
        for path in SOURCES
        if re.search(pattern, ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
    }


@pytest.mark.parametrize(
    ("pattern", "others", "blocked"),
    [
        (
            rf"\bno\s+TensorFlow\b|{WITHOUT_NUMPY}",
            WITHOUT_TENSORFLOW,
            ("tensorflow", "tf_keras", "keras"),
        ),
        (WITHOUT_NUMPY, ("serving.api.client", "serving.api.async_client"), ("numpy",)),
    ],
    ids=["tensorflow", "numpy"],
)
def test_files_that_promise_it_import_without(pattern, others, blocked):
    modules = sorted(modules_that_say(pattern) | set(others))
    program = f"""
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocker())
failures = []
for name in {modules}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        failures.append(f"{{name}}: {{error}}")
print("\\n".join(failures))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_no_artifact_is_unpickled():
    """Pickle runs code of whoever wrote the file."""
    loaders = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    wrong = [path for path, _, parts in imports_of(SOURCES) if parts[0] in loaders]
    named = sources_with(r"\b(?:allow_pickle|docids)\b")
    assert named
    for path in named:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_named = isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "docids")
            if is_named and not (isinstance(node.value, ast.Constant) and not node.value.value):
                wrong.append(f"{by_path(path)}, line {node.value.lineno}")
    assert wrong == []


def shipped_text_files() -> list[Path]:
    names = ("*.md", "docs/**/*.md", "*.toml", "*.txt", "*.py", "Makefile", ".ci/run")
    top = [path for name in names for path in ROOT.glob(name)]
    return [*top, *SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]


def test_no_path_of_a_machine():
    folders = "|".join(("work", "home", "root", "Users", "opt"))
    pattern = re.compile(rf"(?<![\w.:}}/])/(?:{folders})/\w[\w./-]*")
    found = {
        by_path(path): paths
        for path in shipped_text_files()
        if (paths := pattern.findall(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_files_are_short_and_say_what_they_are():
    texts = {by_path(path): path.read_text(encoding="utf-8") for path in SOURCES}
    lines = {path: len(text.splitlines()) for path, text in texts.items()}
    assert {path: number for path, number in lines.items() if number > MAX_LINES} == {}
    assert [p for p, t in texts.items() if t.strip() and not ast.get_docstring(ast.parse(t))] == []


def lines_of_functions(path: Path) -> dict[str, int]:
    """Lines of every function of a file by its name, from the first decorator, no docstring."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            length = node.end_lineno - first + 1
            if ast.get_docstring(node) is not None:
                docstring = node.body[0]
                length -= docstring.end_lineno - docstring.lineno + 1
            found[f"{node.name}, line {node.lineno}"] = length
    return found


def test_functions_fit_a_screen():
    long = {
        f"{by_path(path)}: {name}": lines
        for path in SOURCES
        for name, lines in lines_of_functions(path).items()
        if lines > MAX_FUNCTION_LINES
    }
    assert long == {}


def test_lines_of_functions_are_counted_with_decorators_and_without_docstrings(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        '@a\n@b(\n)\ndef one():\n    """Says.\n\n    More.\n    """\n    return 1\n\n'
        "async def two():\n    def inner():\n        pass\n    inner()\n"
    )
    assert lines_of_functions(path) == {"one, line 4": 5, "two, line 11": 4, "inner, line 12": 2}


TESTS_OF_PACKAGES = sorted(
    path for package in PACKAGES for path in (ROOT / "tests" / package).rglob("*_test.py")
)


def test_tests_lie_where_what_they_test_lies():
    """A file with the name of a module tests that module; any other name is of the whole room."""
    wrong = []
    for path in TESTS_OF_PACKAGES:
        place = path.relative_to(ROOT / "tests")
        module = ROOT / place.parent / f"{path.stem.removesuffix('_test')}.py"
        modules = [source for source in SOURCES if source.name == module.name]
        own = [source for source in modules if by_path(source).startswith(f"{place.parts[0]}/")]
        if not module.parent.is_dir() or (own and module not in own):
            wrong.append(by_path(path))
    assert wrong == []


def public_names(path: Path) -> dict[str, ast.stmt]:
    """What a file defines at its top: name -> its statement."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [node.name] if isinstance(node, ast.ClassDef | ast.FunctionDef) else []
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        found |= {name: node for name in names if not name.startswith("_")}
    return found


@functools.cache
def names_of_several_modules() -> dict[str, dict[str, ast.stmt]]:
    """Public name -> module -> statement, for names that more than one module defines."""
    modules: dict[str, dict[str, ast.stmt]] = {}
    for path in SOURCES:
        if not path.name.endswith("_pb2.py"):
            for name, node in public_names(path).items():
                modules.setdefault(name, {})[module_name(path)] = node
    return {name: places for name, places in modules.items() if len(places) > 1}


def test_a_class_has_its_name_for_itself():
    classes = {
        name: sorted(places)
        for name, places in names_of_several_modules().items()
        if any(isinstance(node, ast.ClassDef) for node in places.values())
    }
    assert classes == {}


def test_a_name_of_several_modules_is_used_with_its_module():
    """`manifest.read(...)` says whose `read` it is; `from manifest import read` does not."""
    shared = names_of_several_modules()
    bare = [
        f"{path.relative_to(ROOT)}: {name} of {node.module}"
        for path in (*SOURCES, *sorted((ROOT / "tests").rglob("*.py")))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and path != DOOR_FOR_PEOPLE
        for name in (alias.name for alias in node.names)
        if node.module in shared.get(name, {})
    ]
    assert bare == []
