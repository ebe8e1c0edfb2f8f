"""The built wheel works on its own, outside the source tree."""

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("recall", "serving", "pipelines")
TIMEOUT_S = 300


def execute(words, cwd, **environment) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def copy_sources(target: Path) -> Path:
    """Copies what a wheel is built from."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target)
    return target


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_sources(folder / "source")  # setuptools leaves a build folder where it works
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    execute([*build, source], cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(wheel):
    """The bin folder of an environment that holds the wheel.

    Its heavy packages are those of the running environment, named by a .pth
    file; such a file is not followed to further ones, so the project itself
    can only come from the wheel.
    """
    folder = wheel.parent
    execute([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], cwd=folder)
    site_packages = folder / "venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (site_packages / "packages_of_the_tests.pth").write_text(
        "\n".join(site.getsitepackages()) + "\n"
    )
    bin_dir = folder / "venv" / "bin"
    install = ["pip", "--python", bin_dir / "python", "install", "--quiet", "--no-deps"]
    execute([sys.executable, "-m", *install, "--no-index", "--ignore-installed", wheel], cwd=folder)
    return bin_dir


def test_the_project_comes_from_the_wheel(environment, tmp_path):
    program = "import recall, serving, pipelines; print(recall.__file__, pipelines.__file__)"
    files = execute([environment / "python", "-c", program], cwd=tmp_path).split()
    for file in files:
        assert Path(file).is_relative_to(environment.parent)


def test_every_package_and_module_is_in_the_wheel(environment):
    (installed,) = environment.parent.glob("lib/python3.*/site-packages")
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert (installed / path.relative_to(ROOT)).exists(), path
    assert not (installed / "tests").exists()


def test_help_and_version(environment, tmp_path):
    assert "Commands:" in execute([environment / "recall", "--help"], cwd=tmp_path)
    assert execute([environment / "recall", "--version"], cwd=tmp_path) == "recall 0.1.0\n"


@pytest.mark.slow
def test_a_tiny_run(environment, tmp_path):
    settings = (
        "train.max_epochs=1",
        "model.dim=4",
        "model.num_heads=1",
        "model.num_blocks=1",
        "model.num_interests=2",
        "model.max_history_length=8",
        "loss.num_negatives=8",
        'evaluation.thresholds=["test.ndcg@10 > 0"]',
    )
    out = execute(
        [
            environment / "recall",
            "run",
            "--events=synthetic:users=60,items=30,interests=4,events_per_user=8",
            "--output=runs/tiny",
            *(f"--set={setting}" for setting in settings),
        ],
        cwd=tmp_path,
    )
    assert "serve --release=runs/tiny/serving" in out
    for part in ("user_tower", "item_tower", "index"):
        assert len(list((tmp_path / "runs/tiny/serving" / part).glob("[0-9]*"))) == 1
