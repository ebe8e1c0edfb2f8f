"""The table of the HTTP door: every path, who answers it, and how.

The first row that fits a path and a method answers; a path that fits with other methods
alone is 405.
"""

from starlette.routing import BaseRoute, Route

from serving.http_door.api import HttpApi
from serving.http_door.endpoints import in_thread
from serving.http_door.paths import TfServingRoute


def build_routes(api: HttpApi, metrics_path: str | None) -> list[BaseRoute]:
    """All routes.

    Args:
        api: Answers. Its `async` functions are endpoints as they are, the others by
            `in_thread`.
        metrics_path: Where metrics are shown; None shows none.
    """
    routes: list[BaseRoute] = [
        Route("/recall", in_thread(api.recall, model="recall"), methods=["POST"]),
        Route("/items", in_thread(api.items, model="items")),
        Route(
            "/items:upsert",
            in_thread(api.upsert_items, model="items", needs_admin=True),
            methods=["POST"],
        ),
        Route(
            "/items:delete",
            in_thread(api.delete_items, model="items", needs_admin=True),
            methods=["POST"],
        ),
        Route("/healthz", api.healthz),
        Route("/readyz", api.readyz),
    ]
    if metrics_path is not None:
        routes.append(Route(metrics_path, api.metrics))
    model = "/v1/models{model:model}"
    return [
        *routes,
        TfServingRoute(f"{model}:{{verb:verb}}", in_thread(api.predict), methods=["POST"]),
        TfServingRoute(model, in_thread(api.status)),
        TfServingRoute(f"{model}/{{word:metadata}}", in_thread(api.metadata)),
        # TF Serving compares the word once more: METADATA is answered with the status.
        TfServingRoute(f"{model}/metadata", in_thread(api.status)),
        TfServingRoute("/v1/{rest:path}", api.malformed, methods=()),  # Of any.
    ]
