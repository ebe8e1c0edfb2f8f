"""Ids that are none, and ids that are probably meant to be the same.

Pure functions over Arrow arrays. Imports no TensorFlow and opens no file.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.columns.column_types import text_edges, to_mask

NULL_MARKERS = (
    *("nan", "NaN", "NAN", "None", "NaT", "<NA>"),  # pandas and numpy, as texts
    *("NULL", "Null", "null", "\\N"),  # MySQL, PostgreSQL, Hive, Spark, JSON
    *("NA", "N/A", "n/a", "#N/A"),  # R and spreadsheets
    *("undefined", "<nil>", "__HIVE_DEFAULT_PARTITION__"),  # JavaScript, Go, Hive's folders
)
"""What common exporters write where a value is missing."""

UNMATCHED_FACTS = ("unmatched", "matched_plain", "only_in_log", "only_in_file")
"""What `match_items` tells besides `matched`."""

_MARKERS = pa.array(NULL_MARKERS)
_MARKER_SHAPES = np.zeros((256, 1 + max(map(len, NULL_MARKERS))), bool)
for _marker in NULL_MARKERS:
    _MARKER_SHAPES[ord(_marker[0]), len(_marker)] = True
_REWRITTEN = r"^[\s\p{Z}\x{FEFF}]|[\s\p{Z}]$|^[+-]?0\d|^\+\d|^-?\d+\.0*$"
_WHOLE_NUMBER = r"^\+?(-?)0*(\d+?)(\.0*)?$"


def is_null_marker(ids: pa.StringArray) -> np.ndarray:
    """`[n]` bool, True where a text stands for a missing value, blanks around it or not."""
    edges = text_edges(ids)
    lengths = np.minimum(edges.lengths, _MARKER_SHAPES.shape[1] - 1)
    rows = np.flatnonzero(_MARKER_SHAPES[edges.first, lengths] | edges.may_be_blank)
    marked = np.zeros(len(ids), bool)
    if len(rows):
        texts = pc.utf8_trim_whitespace(ids.take(pa.array(rows)))
        marked[rows] = to_mask(pc.is_in(texts, value_set=_MARKERS))
    return marked


def plain_ids(ids: pa.StringArray) -> pa.StringArray:
    """Ids without what exporters add: spaces around them, `.0` and zeros before a number.

    >>> plain_ids(pa.array(["12", "0012", "12.0", " 12", "a12", "1.20"])).to_pylist()
    ['12', '12', '12', '12', 'a12', '1.20']
    """
    if not _may_be_rewritten(ids) or not pc.any(pc.match_substring_regex(ids, _REWRITTEN)).as_py():
        return ids
    return pc.replace_substring_regex(
        pc.utf8_trim_whitespace(pc.utf8_ltrim(ids, "\ufeff")), _WHOLE_NUMBER, r"\1\2"
    )


def _may_be_rewritten(ids: pa.StringArray) -> bool:
    """Whether the first and last bytes allow any match of `_REWRITTEN`, which is slow."""
    edges = text_edges(ids)
    first, last = edges.first, edges.last
    signs = (first == ord("+")) | (first == ord("-")) | ((first == ord("0")) & (edges.lengths > 1))
    dots = (last == ord(".")) | (last == ord("0"))
    if dots.any() and not np.any(edges.data == ord(".")):
        dots[:] = False
    return bool(np.any(signs | dots | edges.may_be_blank))


def find_look_alikes(ids: pa.StringArray) -> dict[str, Any]:
    """Counts distinct ids that have the same plain id as another.

    Args:
        ids: `[n]`, each once.

    Returns:
        `ids`, how many they are, `groups`, how many they would be if equal plain
        ids were equal, and `example`, the ids of one group (at most three).
    """
    plain = plain_ids(ids)
    if plain is ids:
        return {"ids": 0, "groups": 0, "example": []}
    encoded = plain.dictionary_encode()
    codes = encoded.indices.to_numpy()
    sizes = np.bincount(codes, minlength=len(encoded.dictionary))
    alike = sizes[codes] > 1
    example = np.flatnonzero(codes == codes[np.argmax(alike)])[:3] if alike.any() else []
    return {
        "ids": int(alike.sum()),
        "groups": int((sizes > 1).sum()),
        "example": ids.take(pa.array(example, pa.int64())).to_pylist(),
    }


def add_look_alikes(found: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Adds up what `find_look_alikes` found in parts that share no plain id."""
    found = list(found)
    return {
        "ids": sum(part["ids"] for part in found),
        "groups": sum(part["groups"] for part in found),
        "example": next((part["example"] for part in found if part["example"]), []),
    }


def match_items(log_ids: pa.StringArray, file_ids: pa.StringArray) -> dict[str, Any]:
    """Compares the items of a log with those of an items file.

    Args:
        log_ids: `[n]` distinct ids, the most frequent first.
        file_ids: `[m]` distinct ids.

    Returns:
        `matched`, how many of the log's items are in the file, `unmatched`, how many
        are not, `matched_plain`, how many would be by their plain ids, and
        `only_in_log` and `only_in_file`, an example each (None where there is none),
        of one plain id where possible.
    """
    matched = to_mask(pc.is_in(log_ids, value_set=file_ids))
    unused = ~to_mask(pc.is_in(file_ids, value_set=log_ids))
    places = pc.index_in(plain_ids(log_ids), value_set=plain_ids(file_ids))
    alike = ~matched & to_mask(places.is_valid())
    in_log, in_file = np.flatnonzero(~matched)[:1], np.flatnonzero(unused)[:1]
    if alike.any():  # The clearest example is one item under two ids.
        in_log = np.flatnonzero(alike)[:1]
        in_file = [places[int(in_log[0])].as_py()]
    return {
        "matched": int(matched.sum()),
        "unmatched": int((~matched).sum()),
        "matched_plain": int((matched | alike).sum()),
        "only_in_log": log_ids[int(in_log[0])].as_py() if len(in_log) else None,
        "only_in_file": file_ids[int(in_file[0])].as_py() if len(in_file) else None,
    }


def find_marked_categories(categories: pa.ListArray) -> dict[str, Any]:
    """Counts items with a category that stands for a missing one.

    Args:
        categories: `[n]` lists of names.

    Returns:
        `items`, how many they are, and `example`, one of the markers.
    """
    names, owners = pc.list_flatten(categories), pc.list_parent_indices(categories)
    marked = is_null_marker(names)
    items = np.unique(owners.to_numpy()[marked])
    return {
        "items": len(items),
        "example": names[int(np.argmax(marked))].as_py() if len(items) else None,
    }
