"""Paths of TensorFlow Serving's REST API, as routes of Starlette.

Imports no TensorFlow. Paths are matched as they are sent, still percent-encoded: a name
of a model may contain `/` or `:` that way.
"""

import re
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import BaseRoute, Match, Route

from serving.protocol.status import invalid_argument

_MAX_INT64 = (1 << 63) - 1
_READING, _ASKING = ("GET", "HEAD", "OPTIONS"), ("POST", "OPTIONS")


class ModelPath(NamedTuple):
    """What a path names, in the order of `ModelServer.use`.

    Attributes:
        name: Of the model, "" where the path has none.
        version: Asked for.
        label: Asked for instead of a version.
    """

    name: str
    version: int | None
    label: str | None


class _ModelConvertor(Convertor[ModelPath]):
    """`[/NAME][/versions/N|/labels/L]` of a path, by TensorFlow Serving's pattern."""

    regex = r"(?:/[^/:]+)?(?:/versions/\d+|/labels/[^/:]+)?"
    _parts = re.compile(r"(?:/([^/]+))?(?:/versions/(\d+)|/labels/([^/]+))?", re.IGNORECASE)

    def convert(self, value: str) -> ModelPath:
        """The parts, decoded.

        Raises:
            ServingError: INVALID_ARGUMENT, the version is no int64.
        """
        name, version, label = self._parts.fullmatch(value).groups()
        number = None
        if version is not None:
            number = int(version) if len(version) <= 19 else _MAX_INT64 + 1
            if number > _MAX_INT64:
                raise invalid_argument(f"Failed to convert version: {version[:40]} to numeric.")
        return ModelPath(
            urllib.parse.unquote(name or ""),
            number,
            urllib.parse.unquote(label) if label is not None else None,
        )


class _VerbConvertor(Convertor[str]):
    """The verb of a model, in lower case as TensorFlow Serving wants it."""

    regex = "(?-i:classify|regress|predict)"

    def convert(self, value: str) -> str:
        """The verb as it is."""
        return value


class _MetadataConvertor(_VerbConvertor):
    """The word `metadata` in lower case."""

    regex = "(?-i:metadata)"


register_url_convertor("model", _ModelConvertor())
register_url_convertor("verb", _VerbConvertor())
register_url_convertor("metadata", _MetadataConvertor())


class TfServingRoute(Route):
    """A route whose path has no case, as those of TensorFlow Serving's REST API."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any):
        """As `Route`."""
        super().__init__(path, endpoint, **options)
        self.path_regex = re.compile(self.path_regex.pattern, re.IGNORECASE)


def allowed_methods(routes: Sequence[BaseRoute], path: str) -> str:
    """The methods a path answers, as `Allow` has them; all where it is not known."""
    found: set[str] = set()
    for route in routes:
        match, _ = route.matches({"type": "http", "method": "GET", "path": path})
        if match is not Match.NONE:
            # A mount has files below it; a route of all methods refuses them all.
            found |= getattr(route, "methods", {"GET"}) or set()
    found = found or {"GET", "POST"}
    methods = (*(_READING if "GET" in found else ()), *(_ASKING if "POST" in found else ()))
    return ", ".join(dict.fromkeys(methods))
