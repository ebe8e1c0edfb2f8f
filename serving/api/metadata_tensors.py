"""What only some answers have, as outputs of Predict. Imports no TensorFlow.

Titles and categories of the items, and the weights of the interests. They are outputs of
every signature of requests, but are sent only to who asks, by `with_metadata` and
`with_interests` or by the output filter: texts are most of such an answer. Names that are no
category are sent where there are any.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from serving.api.recall_request import ItemMetadata, RecallRequest, RecallResponse

METADATA_OUTPUTS = ("titles", "categories")
"""Names of the outputs of `with_metadata`."""

INTERESTS_OUTPUT = "interest_weights"
"""Name of the output of `with_interests`."""

UNKNOWN_OUTPUT = "unknown_categories"
"""Name of the output of `RecallResponse.unknown_categories`."""


def build_asked(
    requests: Sequence[RecallRequest],
    responses: Sequence[RecallResponse],
    k: int,
    output_filter: Sequence[str],
) -> dict[str, np.ndarray]:
    """Those of the outputs that a request of the batch, or the output filter, asks for.

    And the names that are no category, where there are any.

    Args:
        requests: Of the batch.
        responses: One for each.
        k: Width of the rows of items.
        output_filter: Names of outputs wanted.
    """
    outputs = {}
    is_named = any(name in output_filter for name in METADATA_OUTPUTS)
    if is_named or any(request.with_metadata for request in requests):
        outputs |= build_metadata_outputs(responses, k)
    is_named = INTERESTS_OUTPUT in output_filter
    if is_named or any(request.with_interests for request in requests):
        outputs[INTERESTS_OUTPUT] = _build_weights(responses)
    if UNKNOWN_OUTPUT in output_filter or any(r.unknown_categories for r in responses):
        outputs[UNKNOWN_OUTPUT] = _build_unknown(responses)
    return outputs


def _build_weights(responses: Sequence[RecallResponse]) -> np.ndarray:
    """`[n, most interests]` float32, padded with 0."""
    rows = [response.interest_weights or () for response in responses]
    weights = np.zeros((len(rows), max(map(len, rows), default=0)), np.float32)
    for row, values in enumerate(rows):
        weights[row, : len(values)] = values
    return weights


def _build_unknown(responses: Sequence[RecallResponse]) -> np.ndarray:
    """`[n, most names]` bytes, padded with ""."""
    width = max((len(response.unknown_categories) for response in responses), default=0)
    names = np.full((len(responses), width), b"", dtype=object)
    for row, response in enumerate(responses):
        names[row, : len(response.unknown_categories)] = [
            name.encode() for name in response.unknown_categories
        ]
    return names


def parse_unknown(outputs: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The outputs of a batch of one -> `RecallResponse.unknown_categories`."""
    if UNKNOWN_OUTPUT not in outputs:
        return ()
    return tuple(name.decode() for name in outputs[UNKNOWN_OUTPUT][0].tolist() if name)


def build_metadata_outputs(responses: Sequence[RecallResponse], k: int) -> dict[str, np.ndarray]:
    """The outputs for a batch.

    Args:
        responses: Those without metadata get "".
        k: Width of the rows.

    Returns:
        `titles [n, k]` and `categories [n, k, most categories of an item]`,
        bytes, padded with "" as the lists of texts of requests are.
    """
    known = [response.metadata or ItemMetadata() for response in responses]
    width = max((len(names) for of in known for names in of.categories), default=0)
    titles = np.full((len(known), k), b"", dtype=object)
    categories = np.full((len(known), k, width), b"", dtype=object)
    for row, of_response in enumerate(known):
        for place, (title, names) in enumerate(zip(*of_response, strict=True)):
            titles[row, place] = title.encode()
            categories[row, place, : len(names)] = [name.encode() for name in names]
    return {"titles": titles, "categories": categories}


def parse_metadata(outputs: Mapping[str, np.ndarray], found: np.ndarray) -> ItemMetadata:
    """The outputs of a batch of one -> titles and categories.

    Args:
        outputs: With those of `build_metadata_outputs`.
        found: `[k]` bool, which places hold an item.
    """
    return ItemMetadata(
        tuple(title.decode() for title in outputs["titles"][0][found].tolist()),
        tuple(
            tuple(name.decode() for name in names if name)
            for names in outputs["categories"][0][found].tolist()
        ),
    )
