"""Paths of TensorFlow Serving's REST API: which model, version or label they name.

Imports no TensorFlow.
"""

import re
import urllib.parse
from typing import NamedTuple

from serving.protocol.status import invalid_argument

_PREDICT = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?",
    re.IGNORECASE,
)
"""TF Serving's patterns. It compares the verb and `metadata` once more, with their case."""

_ROOT = "/v1/"
_METADATA = "metadata"
_MAX_INT64 = (1 << 63) - 1


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


def is_models(path: str) -> bool:
    """Whether a path belongs to the API at all."""
    return path[: len(_ROOT)].lower() == _ROOT


def parse_predict(path: str) -> tuple[ModelPath, str] | None:
    """Model and verb of `/v1/models/NAME[/versions/N|/labels/L]:VERB`, None for another path.

    Raises:
        ServingError: INVALID_ARGUMENT, the version is no int64.
    """
    match = _PREDICT.fullmatch(path)
    if match is None or not match.group(4).islower():
        return None
    return _decode(*match.groups()[:3]), match.group(4)


def parse_model(path: str) -> tuple[ModelPath, bool] | None:
    """Model of `/v1/models[/NAME][...][/metadata]`, and whether its metadata are wanted.

    Raises:
        ServingError: INVALID_ARGUMENT, the version is no int64.
    """
    match = _MODEL.fullmatch(path)
    if match is None:
        return None
    return _decode(*match.groups()[:3]), match.group(4) == _METADATA


def model_name(path: str) -> str:
    """The model a path names, whatever else is wrong with it; "" for none."""
    match = _PREDICT.fullmatch(path) or _MODEL.fullmatch(path)
    return urllib.parse.unquote(match.group(1) or "") if match is not None else ""


def _decode(name: str | None, version: str | None, label: str | None) -> ModelPath:
    """Parts of a path, decoded."""
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
