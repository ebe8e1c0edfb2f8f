"""Paths of TensorFlow Serving's REST API: what they name, and the methods they answer."""

import pytest
from starlette.routing import Match, Mount, Route

from serving.http_door.paths import ModelPath, TfServingRoute, allowed_methods
from serving.protocol.status import Code, ServingError


async def _nothing(scope, receive, send):
    """Is never called."""


MODEL = TfServingRoute("/v1/models{model:model}", _nothing, methods=["GET"])
PREDICT = TfServingRoute("/v1/models{model:model}:{verb:verb}", _nothing, methods=["POST"])
METADATA = TfServingRoute("/v1/models{model:model}/{word:metadata}", _nothing, methods=["GET"])


def _match(route, path):
    match, scope = route.matches({"type": "http", "method": "GET", "path": path})
    return None if match is Match.NONE else scope["path_params"]


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("", ModelPath("", None, None)),
        ("/m", ModelPath("m", None, None)),
        ("/m/versions/12", ModelPath("m", 12, None)),
        ("/m/VERSIONS/12", ModelPath("m", 12, None)),
        ("/m/labels/canary", ModelPath("m", None, "canary")),
        ("/a%2Fb%3Ac/labels/%64", ModelPath("a/b:c", None, "d")),
        ("/versions/3", ModelPath("", 3, None)),
        ("/versions", ModelPath("versions", None, None)),
        ("/metadata", ModelPath("metadata", None, None)),
        (f"/m/versions/{2**63 - 1}", ModelPath("m", 2**63 - 1, None)),
    ],
)
def test_models(path, model):
    assert _match(MODEL, "/v1/models" + path) == {"model": model}
    assert _match(MODEL, "/V1/Models" + path) == {"model": model}
    assert _match(PREDICT, f"/v1/models{path}:predict") == {"model": model, "verb": "predict"}
    assert _match(METADATA, f"/v1/models{path}/metadata") == {"model": model, "word": "metadata"}


@pytest.mark.parametrize("path", ["/", "/m/", "/m/versions/x", "/m/labels/", "/m/n", "/m:x", "//"])
def test_what_names_no_model(path):
    assert _match(MODEL, "/v1/models" + path) is None


def test_words_have_a_case():
    assert _match(PREDICT, "/v1/models/m:PREDICT") is None
    assert _match(PREDICT, "/v1/models/m:explain") is None
    assert _match(METADATA, "/v1/models/m/METADATA") is None


@pytest.mark.parametrize("version", [str(2**63), "9" * 5000])
def test_versions_are_int64(version):
    with pytest.raises(ServingError, match="Failed to convert version: 9") as error:
        _match(MODEL, f"/v1/models/m/versions/{version}")
    assert error.value.code is Code.INVALID_ARGUMENT


def test_methods_of_a_path():
    anything = TfServingRoute("/v1/{rest:path}", _nothing, methods=())
    both = [Route("/both", _nothing, methods=[method]) for method in ("GET", "POST")]
    routes = [MODEL, PREDICT, *both, Mount("/static", _nothing), anything]
    assert allowed_methods(routes, "/v1/models/m") == "GET, HEAD, OPTIONS"
    assert allowed_methods(routes, "/v1/models/m:predict") == "POST, OPTIONS"
    assert allowed_methods(routes, "/static/page.html") == "GET, HEAD, OPTIONS"
    for path in ("/both", "/nothing", "/v1/nothing", "*"):
        assert allowed_methods(routes, path) == "GET, HEAD, OPTIONS, POST"
