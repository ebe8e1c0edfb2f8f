"""Lets generated requests that are meant to be right fit the model of the tests.

Loaded by schemathesis (`SCHEMATHESIS_HOOKS`). What depends on the model is no part of the
description: the length of vectors, the number of interests, the features of items.
"""

import schemathesis
from schemathesis import GenerationMode

DIM, NUM_INTERESTS = 8, 2
"""Of `tests.serving.category_release`."""


def _fit(request):
    """A recall request whose vectors and weights have the model's sizes."""
    if not isinstance(request, dict):
        return
    if request.get("user_vectors"):
        request["user_vectors"] = [
            [float(row[column % len(row)]) for column in range(DIM)]
            for row in request["user_vectors"]
        ]
        request.pop("fingerprint", None)
    if request.get("interest_weights"):
        by_items = len(request.get("similar_to") or ())
        number = len(request.get("user_vectors") or ()) or by_items or NUM_INTERESTS
        request["interest_weights"] = [max(request["interest_weights"])] * number


@schemathesis.hook
def before_call(context, case, kwargs):
    """Changes only what was generated to be right."""
    body = case.body
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if not isinstance(body, dict):
        return
    if case.path == "/recall":
        for request in body.get("requests", [body]):
            _fit(request)
    if case.path == "/items:upsert":
        for item in body["items"]:
            item["vector"] = [1.0] * DIM
            item.pop("features", None)
