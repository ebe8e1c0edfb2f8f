"""Titles and categories as outputs of Predict, and back in a client."""

import numpy as np

from serving.api.recall_request import ItemMetadata, RecallResponse
from serving.api.recall_tensors import parse_metadata
from serving.servables.recall_rows import build_metadata_outputs


def response(num_items, metadata=None):
    return RecallResponse(
        np.array([b"i%d" % number for number in range(num_items)]),
        np.zeros(num_items, np.float32),
        np.zeros(num_items, np.int32),
        *(False, 1, 0, 2, 2),
        metadata=metadata,
    )


BATCH = [
    response(2, ItemMetadata(("Hat", ""), (("red", "a|b"), ()))),
    response(3),
    response(1, ItemMetadata(("Écharpe",), (("blue",),))),
]
OUTPUTS = {
    "titles": [[b"Hat", b"", b""], [b""] * 3, ["Écharpe".encode(), b"", b""]],
    "categories": [
        [[b"red", b"a|b"], [b"", b""], [b"", b""]],
        [[b"", b""]] * 3,
        [[b"blue", b""], [b"", b""], [b"", b""]],
    ],
}


def test_rows_are_padded():
    outputs = build_metadata_outputs(BATCH, 3)
    assert {name: array.tolist() for name, array in outputs.items()} == OUTPUTS


def test_nobody_asked():
    outputs = build_metadata_outputs([response(2)], 2)
    assert outputs["titles"].tolist() == [[b"", b""]]
    assert outputs["categories"].shape == (1, 2, 0)


def test_what_was_padded_is_left_out():
    row = (OUTPUTS[name][0] for name in ("titles", "categories"))
    assert parse_metadata(*row, [True, True, False]) == (("Hat", ""), (("red", "a|b"), ()))
