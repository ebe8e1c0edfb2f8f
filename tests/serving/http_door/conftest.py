"""The interest explorer in a headless Chromium; the server is real."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from serving.server import RecallServer
from tests.serving.category_release import write_release
from tests.serving.explorer_visit import SIZES, Visit


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """i0 ... i59 with the titles "", "Item 1", "Item 2" ...; two interests, three colours."""
    folder = tmp_path_factory.mktemp("release")
    write_release(folder, 1)
    return folder


@pytest.fixture(scope="module")
def server(release):
    with RecallServer(release, grpc_port=0, http_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def chromium():
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as started:
        # Without a sandbox: tests may run as root, in a container.
        browser = started.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=SIZES)
def visit(request, chromium, server):
    visit = Visit(chromium, server, request.param)
    yield visit
    visit.close()


@pytest.fixture(params=["phone", pytest.param("wide", marks=pytest.mark.slow)])
def narrow(request, chromium, server):
    """For what the size of the window changes little."""
    visit = Visit(chromium, server, request.param)
    yield visit
    visit.close()


@pytest.fixture
def wide(chromium, server):
    visit = Visit(chromium, server, "wide")
    yield visit
    visit.close()
