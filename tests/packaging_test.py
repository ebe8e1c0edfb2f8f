"""What setup.py declares and constraints.txt pins is what the code imports, no less and no more."""

import ast
import importlib.metadata
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGES = ("recall", "serving", "pipelines")

NOT_IMPORTED = {
    "build": "`python -m build`, in the test of the wheel",
    "importlib-resources": "tensorflow-datasets imports it",
    "opentelemetry-exporter-otlp-proto-grpc": "a part of the module `opentelemetry`",
    "opentelemetry-sdk": "a part of the module `opentelemetry`",
    "pytest-xdist": "`pytest -n`",
    "ruff": "`make lint`",
    "setuptools": "tensorboard imports its pkg_resources; wheels are built with it",
    "tensorboard": "Keras' callback writes its scalars",
    "tf-keras": "what `tf.keras` is under TF_USE_LEGACY_KERAS=1",
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


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


def imported_distributions(*folders: str) -> dict[str, str]:
    """Distributions behind the imports of the files in `folders`, with one such file."""
    of_module = importlib.metadata.packages_distributions()
    own = {*PACKAGES, "tests"}
    found = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - own - sys.stdlib_module_names:
                # `google` belongs to several; protobuf is the one that is meant.
                candidates = {canonicalize_name(d) for d in of_module.get(top, [top])}
                name = "protobuf" if "protobuf" in candidates else min(candidates)
                found[name] = str(path.relative_to(ROOT))
    return found


@pytest.mark.parametrize(
    ("folders", "lists"),
    [(PACKAGES, ("_REQUIRES", "_OTEL")), (("tests",), ("_REQUIRES", "_TEST", "_OTEL"))],
    ids=["packages", "tests"],
)
def test_every_import_is_declared(folders, lists):
    missing = {
        name: file
        for name, file in imported_distributions(*folders).items()
        if name not in declared(*lists)
    }
    assert missing == {}


def test_nothing_else_is_declared():
    used = {*imported_distributions(*PACKAGES, "tests"), *NOT_IMPORTED}
    assert set(declared("_REQUIRES", "_TEST", "_LINT", "_OTEL")) - used == set()


def test_every_package_of_the_environment_is_pinned():
    """Also those that the declared packages need in turn."""
    pins, waiting, seen = (
        pinned(),
        list(declared("_REQUIRES", "_TEST", "_LINT", "_OTEL").values()),
        set(),
    )
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, *sorted(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        assert name in pins, f"{name} is not in constraints.txt; `make pins` renews it"
        assert requirement.specifier.contains(pins[name]), requirement
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)


def test_the_pins_are_what_runs():
    """A number measured here was measured with the versions that are pinned."""
    differing = {
        name: version
        for name, version in pinned().items()
        if importlib.metadata.version(name) != version
    }
    assert differing == {}
