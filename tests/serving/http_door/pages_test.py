"""The files of the pages, as the door serves them."""

import http.client
import re
from pathlib import Path

import pytest

import serving
from serving.server import RecallServer

FOLDER = Path(serving.__file__).parent / "pages"
FILES = sorted(path.name for path in FOLDER.iterdir())
PARTS = [name for name in FILES if not name.endswith(".html")]


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection(server.http_address, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "name", "media_type"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/docs", "docs.html", "text/html; charset=utf-8"),
        ("/pages/app.js", "app.js", "text/javascript; charset=utf-8"),
        ("/pages/base.css", "base.css", "text/css; charset=utf-8"),
        ("/pages/icon.svg", "icon.svg", "image/svg+xml"),
    ],
)
def test_a_file_is_sent_as_it_is(recall_server, path, name, media_type):
    status, headers, body = ask(recall_server, path)
    assert (status, body) == (200, (FOLDER / name).read_bytes())
    assert headers["content-type"] == media_type
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    again, _, nothing = ask(recall_server, path, **{"If-None-Match": headers["etag"]})
    assert (again, nothing) == (304, b"")
    status, only_headers, nothing = ask(recall_server, path, "HEAD")
    assert (status, nothing) == (200, b"")
    assert only_headers["content-length"] == str(len(body))


@pytest.mark.parametrize("name", PARTS)
def test_every_file_is_served(recall_server, name):
    assert ask(recall_server, f"/pages/{name}")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/pages/",
        "/pages/none.js",
        "/pages/index.html",
        "/pages/../api/client.py",
        "/pages/%2e%2e/x",
    ],
)
def test_nothing_else_is_served(recall_server, path):
    status, headers, _ = ask(recall_server, path)
    assert (status, headers["content-type"]) == (404, "application/json")


def test_pages_are_only_read(recall_server):
    status, headers, _ = ask(recall_server, "/", "POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_the_explorer_can_be_left_out(release_dir):
    with RecallServer(release_dir, grpc_port=0, http_port=0, explorer=False) as server:
        assert ask(server, "/")[0] == 404
        assert ask(server, "/docs")[0] == 200
        assert ask(server, "/openapi.json")[0] == 200


@pytest.mark.parametrize("name", FILES)
def test_files_name_no_other_host_and_hold_no_code_in_the_page(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    hosts = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text))
    assert hosts <= {"http://www.w3.org"}  # The name of a language, never asked for.
    if name.endswith(".html"):
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", text)
        used = set(re.findall(r'(?:src|href)="pages/([^"]+)"', text))
        assert used <= set(PARTS)
    if name.endswith(".js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        assert set(re.findall(r'from "\./([^"]+)"', text)) <= set(PARTS)
        # A drawing that is not `redraw` takes focus and half-typed text away.
        is_drawing = re.search(r"replaceChildren|replaceWith|\.(?:before|after|prepend)\(", text)
        assert not is_drawing or name == "redraw.js"
