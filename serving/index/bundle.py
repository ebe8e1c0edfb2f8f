"""The index of a release on disk: vectors, ids, fallback list, checksums.

Imports no TensorFlow and loads no pickle. A bundle is written once and sealed
by its manifest; it carries the fingerprint of the towers its vectors are from.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recall.errors import InputError
from recall.vocabulary import ItemVocabulary, schema
from serving.index import self_check
from serving.index.attributes import ItemAttributes
from serving.index.exact_index import ExactIndex
from serving.index.item_index import ItemIndex
from serving.index.long_rows import LongRows
from serving.index.scann_index import ScannIndex
from serving.release import manifest as manifests

ITEM_IDS_NAME = "item_ids.npy"
ITEM_VECTORS_NAME = "item_vectors.npy"
ITEMS_NAME = "items.parquet"
ATTRIBUTES_NAME = "attributes.parquet"
"""Row by row of the items; only where they have attributes beside their categories."""
FALLBACK_NAME = "fallback.json"
SCANN_DIR_NAME = "scann"
LONG_ROWS_NAME = "long_rows.npy"
"""Only where ScaNN does not hold every row; see `long_rows`."""

FALLBACK_ITEMS = 1000
"""Length of the fallback list: the largest `k` of a request, with room for
exclusions, still leaves the answer full."""


@dataclasses.dataclass(frozen=True)
class IndexBundle:
    """An opened bundle.

    Attributes:
        manifest: What made it: `fingerprint`, `kind`, `dim`, `num_items`,
            `similarity`, `recall@100`, `files` and the search parameters.
        item_ids: `[num_items]` bytes, UTF-8 raw ids; row r is item r.
        item_vectors: `[num_items, dim]` float32, a read-only memory map.
        table: The vocabulary in the order of the rows, as Arrow columns.
        fallback: Popular raw item ids, best first.
        index: Searches rows.
        check_queries: `[num_queries, dim]` float32, real users to judge an
            index of these items by; None for one made in memory.
        attributes: What requests filter on beside the categories, row by row; None
            where the release has none.
    """

    manifest: Mapping[str, Any]
    item_ids: np.ndarray
    item_vectors: np.ndarray
    table: pa.Table
    fallback: tuple[str, ...]
    index: ItemIndex
    check_queries: np.ndarray | None = None
    attributes: ItemAttributes | None = None

    @functools.cached_property
    def items(self) -> ItemVocabulary:
        """The vocabulary as Python objects; seconds of work for 10^6 items."""
        return ItemVocabulary.from_table(self.table)

    @property
    def fingerprint(self) -> str:
        """Embedding space of the vectors; equal to the user tower's."""
        return self.manifest["fingerprint"]

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.item_ids)


def write_bundle(
    bundle_dir: str | os.PathLike,
    vocabulary: ItemVocabulary,
    item_vectors: np.ndarray,
    index: ExactIndex | ScannIndex,
    values: Mapping[str, Any],
    *,
    query_vectors: np.ndarray | None = None,
    fallback: Sequence[str] | None = None,
    attributes: ItemAttributes | None = None,
) -> dict[str, Any]:
    """Writes a bundle into an empty folder and seals it.

    Args:
        bundle_dir: Existing, empty folder.
        vocabulary: The items in the order of the rows.
        item_vectors: `[num_items, dim]` float32.
        index: Built over `item_vectors`.
        values: Recorded in the manifest; must hold `fingerprint`,
            `similarity` and `recall@100`.
        query_vectors: `[num_queries, dim]` float32 of real users in random
            order, for the bundle's self-check; None takes items.
        fallback: Popular raw item ids of the whole catalogue, where the
            bundle holds a part of it; None takes the popular ones of the
            bundle.
        attributes: What requests filter on, row by row; None for none.

    Returns:
        The manifest.

    Raises:
        InputError: The sizes differ.
    """
    folder = Path(bundle_dir)
    if not len(vocabulary) == len(item_vectors) == index.num_items:
        raise InputError(
            f"{len(vocabulary)} items, {len(item_vectors)} vectors and an index of "
            f"{index.num_items} do not belong together."
        )
    item_ids = np.array([item_id.encode("utf-8") for item_id in vocabulary.item_ids], np.bytes_)
    np.save(folder / ITEM_IDS_NAME, item_ids, allow_pickle=False)
    np.save(folder / ITEM_VECTORS_NAME, item_vectors.astype(np.float32), allow_pickle=False)
    pq.write_table(vocabulary.to_table(), folder / ITEMS_NAME)
    if attributes is not None:
        pq.write_table(attributes.to_table(), folder / ATTRIBUTES_NAME)
    popular = fallback_ids(vocabulary) if fallback is None else list(fallback)
    text = json.dumps(popular, ensure_ascii=True)
    (folder / FALLBACK_NAME).write_text(text + "\n", encoding="ascii")
    own = {"kind": index.kind, "dim": index.dim, "num_items": index.num_items}
    if isinstance(index, ScannIndex):
        index.save(folder / SCANN_DIR_NAME)
        own["scann"] = index.parameters._asdict()
        if len(index.long_rows):
            np.save(folder / LONG_ROWS_NAME, index.long_rows, allow_pickle=False)
    own[self_check.KEY] = self_check.write(folder, index, item_vectors, query_vectors)
    return manifests.seal(folder, {**values, **own})


def fallback_ids(vocabulary: ItemVocabulary) -> list[str]:
    """Raw ids of the items with most training clicks, best first."""
    order = np.argsort(-vocabulary.counts, kind="stable")[:FALLBACK_ITEMS]
    return [vocabulary.item_ids[row] for row in order]


def open_bundle(bundle_dir: str | os.PathLike, verify: bool = True) -> IndexBundle:
    """Opens a bundle for searching.

    Args:
        bundle_dir: Folder `write_bundle` made.
        verify: Whether every file is compared with its checksum first. ScaNN
            answers wrongly from damaged files, so leave it on.

    Raises:
        InputError: A file is missing, damaged or of another format, or the
            files do not belong together, or the index no longer finds what
            it found when it was built.
    """
    folder = Path(bundle_dir)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give the folder `recall index` made.")
    manifest = manifests.read(folder)
    if verify:
        manifests.verify(folder, manifest)
    item_ids = manifests.load_array(folder, manifest, ITEM_IDS_NAME)
    item_vectors = manifests.load_array(folder, manifest, ITEM_VECTORS_NAME)
    table = _read_table(manifests.require_file(folder, manifest, ITEMS_NAME))
    fallback = read_fallback(folder, manifest)
    _check_sizes(folder, manifest, item_ids, item_vectors, table)
    index = _open_index(folder, manifest, item_vectors)
    check_queries = self_check.check(folder, manifest, index)
    attributes = _read_attributes(folder, manifest)
    return IndexBundle(
        manifest, item_ids, item_vectors, table, fallback, index, check_queries, attributes
    )


def check_compatible(bundle: IndexBundle, tower_fingerprint: str) -> None:
    """Refuses a tower whose vectors lie in another space than the bundle's.

    Raises:
        InputError: The fingerprints differ.
    """
    if tower_fingerprint != bundle.fingerprint:
        raise InputError(
            f"The user tower has fingerprint {tower_fingerprint}, the index "
            f"{bundle.fingerprint}: they are from different exports. Serve a tower and an "
            "index of the same version."
        )


def _read_table(path: Path) -> pa.Table:
    """The columns of a vocabulary; not yet as Python objects."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error
    if not table.schema.equals(schema()):
        raise InputError(f"{path} has not the columns of a vocabulary. Run `recall index` again.")
    return table


def _read_attributes(folder: Path, manifest: Mapping[str, Any]) -> ItemAttributes | None:
    """What requests filter on; None where the bundle has nothing of it."""
    if ATTRIBUTES_NAME not in manifest["files"]:
        return None
    path = manifests.require_file(folder, manifest, ATTRIBUTES_NAME)
    try:
        attributes = ItemAttributes.from_table(pq.read_table(path))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error
    if len(attributes) != manifest.get("num_items"):
        raise InputError(
            f"{path} has {len(attributes)} rows for {manifest.get('num_items')} items. Run "
            "`recall index` again."
        )
    return attributes


def read_fallback(folder: Path, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Popular raw item ids of a bundle, best first.

    Raises:
        InputError: The list is missing or damaged.
    """
    path = manifests.require_file(folder, manifest, FALLBACK_NAME)
    try:
        fallback = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error
    if not isinstance(fallback, list) or not all(isinstance(i, str) for i in fallback):
        raise InputError(f"{path} is not a list of item ids. Run `recall index` again.")
    return tuple(fallback)


def _check_sizes(
    folder: Path,
    manifest: Mapping[str, Any],
    item_ids: np.ndarray,
    item_vectors: np.ndarray,
    table: pa.Table,
) -> None:
    """The files must agree on the items, the manifest on their shape."""
    shape = (manifest.get("num_items"), manifest.get("dim"))
    if item_vectors.shape != shape or item_vectors.dtype != np.float32:
        raise InputError(
            f"{folder / ITEM_VECTORS_NAME} holds {item_vectors.dtype} {item_vectors.shape}, "
            f"the manifest says float32 {shape}. Run `recall index` again."
        )
    if not table["item_id"].cast(pa.binary()).equals(pa.chunked_array([pa.array(item_ids)])):
        raise InputError(
            f"{ITEM_IDS_NAME} and {ITEMS_NAME} of {folder} name different items. "
            "Run `recall index` again."
        )


def _open_index(folder: Path, manifest: Mapping[str, Any], item_vectors: np.ndarray) -> ItemIndex:
    kind = manifest.get("kind")
    if kind == ExactIndex.kind:
        return ExactIndex(item_vectors)
    if kind == ScannIndex.kind:
        long_rows = _read_long_rows(folder, manifest, item_vectors)
        scann_dir = folder / SCANN_DIR_NAME
        return ScannIndex.load(scann_dir, item_vectors.shape, manifest["scann"], long_rows)
    raise InputError(f"{folder} holds an index of unknown kind {kind!r}. Run `recall index` again.")


def _read_long_rows(
    folder: Path, manifest: Mapping[str, Any], item_vectors: np.ndarray
) -> LongRows | None:
    """The rows that ScaNN does not hold."""
    if LONG_ROWS_NAME not in manifest["files"]:
        return None
    rows = manifests.load_array(folder, manifest, LONG_ROWS_NAME)
    if rows.dtype != np.int64 or rows.ndim != 1 or not np.all(np.diff(rows) > 0):
        raise InputError(f"{folder / LONG_ROWS_NAME} holds no rows. Run `recall index` again.")
    if len(rows) and not 0 <= rows[0] <= rows[-1] < len(item_vectors):
        raise InputError(f"{folder / LONG_ROWS_NAME} names no items. Run `recall index` again.")
    return LongRows.of(item_vectors, rows)
