"""Runs to report about, and a browser to look at their pages with."""

import shutil
import tarfile
from pathlib import Path

import pytest

from pipelines.artifacts import records
from recall.vocabulary import ItemVocabulary

ROOT = Path(__file__).parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def old_archive(tmp_path_factory):
    """The run of a version that left less than a report can show; not to be changed."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ROOT / "tests" / "compatibility" / "f44e6fa.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "run"


@pytest.fixture
def old_run(old_archive, tmp_path):
    """A copy of it, to be changed."""
    return Path(shutil.copytree(old_archive, tmp_path / "run"))


@pytest.fixture(scope="session")
def evaluated_archive(old_archive, tmp_path_factory):
    """The same run with titles and a category that look like markup, evaluated as it is now."""
    from pipelines.evaluation import evaluate

    run = Path(shutil.copytree(old_archive, tmp_path_factory.mktemp("evaluated") / "run"))
    old = records.read_vocabulary(run / "examples")
    categories = [["<b>red</b>" if c == "red" else c for c in names] for names in old.categories]
    titles = [f"<b>Title</b> & {item_id}" for item_id in old.item_ids]
    vocabulary = ItemVocabulary(old.item_ids, old.counts, categories, titles)
    records.write_vocabulary(run / "examples", vocabulary)
    # Its categories had weights that models do not have any more: it is evaluated without them.
    config = records.read_config(run / "model").override(["model.use_categories=false"])
    (run / "model" / records.CONFIG_NAME).write_text(config.to_json())
    evaluate.run_evaluation(run / "examples", run / "model", run / "evaluation")
    return run


@pytest.fixture
def evaluated_run(evaluated_archive, tmp_path):
    """A copy of it, to be changed."""
    return Path(shutil.copytree(evaluated_archive, tmp_path / "run"))


@pytest.fixture(scope="module")
def browser():
    """Chromium without a network.

    For one module: until it is closed, Playwright has a loop of asyncio in the thread of the tests,
    beside which no other can be.
    """
    if CHROMIUM is None:
        pytest.skip("there is no chromium (on Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"]
        )
        yield chromium
        chromium.close()
