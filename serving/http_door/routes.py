"""The table of the HTTP door: every path, who answers it, and how.

The first row that fits a path and a method answers; a path that fits with other methods
alone is 405.
"""

from starlette.routing import BaseRoute, Route

from serving.http_door.api import HttpApi
from serving.http_door.endpoints import InThread
from serving.http_door.pages import page_routes
from serving.http_door.paths import TfServingRoute

GET, POST = ("GET",), ("POST",)
ANY = ()


def build_routes(api: HttpApi) -> list[BaseRoute]:
    """All routes.

    Args:
        api: Answers. Its `async` functions are endpoints as they are, the others by
            `InThread`.
    """
    model = "/v1/models{model:model}"
    return [
        Route("/recall", InThread(api.recall, "recall"), methods=POST),
        Route("/items", InThread(api.items, "items"), methods=GET),
        Route("/items:search", InThread(api.search_items, "items"), methods=POST),
        Route("/items:lookup", InThread(api.look_up_items, "items"), methods=POST),
        Route("/items:upsert", InThread(api.upsert_items, "items", needs_admin=True), methods=POST),
        Route("/items:delete", InThread(api.delete_items, "items", needs_admin=True), methods=POST),
        Route("/healthz", api.healthz, methods=GET),
        Route("/readyz", api.readyz, methods=GET),
        Route("/openapi.json", api.openapi, methods=GET),
        *page_routes(explorer=api.has_explorer),
        *(Route(path, api.metrics, methods=GET) for path in api.metrics_paths),
        TfServingRoute(f"{model}:{{verb:verb}}", InThread(api.predict), methods=POST),
        TfServingRoute(model, InThread(api.status), methods=GET),
        TfServingRoute(f"{model}/{{word:metadata}}", InThread(api.metadata), methods=GET),
        # TF Serving compares the word once more: METADATA is answered with the status.
        TfServingRoute(f"{model}/metadata", InThread(api.status), methods=GET),
        # What has no row of its own under /v1/, whatever the method.
        TfServingRoute("/v1/{rest:path}", api.malformed, methods=ANY),
    ]
