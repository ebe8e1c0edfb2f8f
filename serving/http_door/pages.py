"""The pages of the server: the interest explorer, and one that shows the API.

Imports no TensorFlow. They are files of the package, kept in memory and served as they are,
and ask this server alone: their policy forbids browsers every other address, and scripts and
styles in the page itself.
"""

import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

EXPLORER, DOCS = "index.html", "docs.html"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # A page and its parts may come from one release of the package only.
    "Cache-Control": "no-cache",
}

_MEDIA_TYPES = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}
"""By the endings of names; what `mimetypes` says depends on the machine."""


class Page:
    """An endpoint that sends one file."""

    def __init__(self, content: bytes, name: str):
        """Keeps the file; its name tells the type."""
        self._content = content
        self._media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
        self._tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, in ASGI's terms."""
        headers = {**_HEADERS, "ETag": self._tag}
        if Request(scope).headers.get("if-none-match") == self._tag:
            response = Response(status_code=304, headers=headers)
        else:
            response = Response(self._content, 200, headers, self._media_type)
        await response(scope, receive, send)


def page_routes(*, explorer: bool) -> list[BaseRoute]:
    """The routes of all files.

    Args:
        explorer: Whether the explorer is shown, at `/`.
    """
    folder = resources.files("serving") / "pages"
    pages = {file.name: Page(file.read_bytes(), file.name) for file in folder.iterdir()}
    places = {"/docs": pages[DOCS], **({"/": pages[EXPLORER]} if explorer else {})}
    parts = {name: page for name, page in sorted(pages.items()) if not name.endswith(".html")}
    places |= {f"/pages/{name}": page for name, page in parts.items()}
    return [Route(path, page, methods=["GET"]) for path, page in places.items()]
