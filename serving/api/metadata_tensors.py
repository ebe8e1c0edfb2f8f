"""Titles and categories of answered items as outputs of Predict. Imports no TensorFlow.

They are outputs of every signature of requests, but are sent only to who asks,
by `with_metadata` or by the output filter: texts are most of such an answer.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from serving.api.recall_request import ItemMetadata, RecallResponse

METADATA_OUTPUTS = ("titles", "categories")
"""Names of the outputs."""


def build_metadata(responses: Sequence[RecallResponse], k: int) -> dict[str, np.ndarray]:
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
        outputs: With those of `build_metadata`.
        found: `[k]` bool, which places hold an item.
    """
    return ItemMetadata(
        tuple(title.decode() for title in outputs["titles"][0][found].tolist()),
        tuple(
            tuple(name.decode() for name in names if name)
            for names in outputs["categories"][0][found].tolist()
        ),
    )
