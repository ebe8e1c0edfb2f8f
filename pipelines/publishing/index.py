"""The index job: exported towers -> a measured and sealed index bundle.

Items are embedded by the exported item tower and users by the exported user
tower, so what is measured is what will be served.
"""

from pathlib import Path
from typing import Any

import numpy as np

from pipelines.artifacts import item_attributes, provenance, records
from pipelines.progress import tasks
from pipelines.publishing import native_log
from pipelines.publishing.embed import build_queries, embed_items
from pipelines.publishing.index_choice import RECALL_K, TunedIndex, tune_index
from recall.config import IndexConfig, RecallConfig
from recall.errors import InputError
from recall.vocabulary import ItemVocabulary
from serving.index import bundle, shards
from serving.index.exact_index import ExactIndex
from serving.index.scann_index import build_index
from serving.index.shards import Shard
from serving.release import folders
from serving.release import manifest as manifests

_JOB = "index"

_TUNING_KEY = "tuning"
"""Of the manifest: why the index is as it is, where ScaNN was tried."""

RECALL_KEY = f"recall@{RECALL_K}"


def index_record(
    config: RecallConfig,
    export_dir: str | Path,
    examples_dir: str | Path,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """The record of an index, or of one shard of it, over these inputs.

    Raises:
        InputError: An input is not finished.
    """
    inputs = {
        "export": records.checksum_of_record(export_dir, "export"),
        "examples": records.checksum_of_record(examples_dir, "ingest"),
    }
    settings = config.to_dict(["index"])
    if shard is not None:
        settings[shards.KEY] = shard._asdict()
    return records.build_record(_JOB, settings, inputs)


@provenance.measured
def run_index(
    export_dir: str | Path,
    examples_dir: str | Path,
    index_dir: str | Path,
    config: RecallConfig,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """Builds, measures and seals the index of an export, or one shard of it.

    Args:
        export_dir: Folder of a finished `recall export`.
        examples_dir: Folder of the `recall ingest` the model was trained on;
            its held-out users are the queries the index is measured with.
        index_dir: Folder to write. It appears whole, or stays as it was.
        config: Its section `index`.
        shard: The part of the catalogue to hold; None holds all of it.

    Returns:
        The index report: kind, sizes, `recall@100` and what it was measured
        on. The bundle's manifest holds the same values.

    Raises:
        InputError: An input is missing or damaged, the inputs do not belong
            together, or recall@100 is below `index.min_index_recall`.
    """
    record = index_record(config, export_dir, examples_dir, shard)
    manifest, vocabulary = _read_export(export_dir, examples_dir)
    bundled = vocabulary if shard is None else _take_shard(vocabulary, shard)
    bundled = _take_clicked(bundled, config.index.min_clicks)
    item_vectors = embed_items(export_dir, bundled, manifest["fingerprint"])
    queries, measured_on = build_queries(export_dir, examples_dir, vocabulary, item_vectors)
    tuned = _build_index(item_vectors, queries, config.index, manifest["similarity"])
    report = {
        "fingerprint": manifest["fingerprint"],
        "similarity": manifest["similarity"],
        RECALL_KEY: tuned.recall,
        "measured_on": measured_on,
        "num_queries": len(queries),
        **({_TUNING_KEY: tuned.facts} if tuned.facts else {}),
        **({} if shard is None else {shards.KEY: shard._asdict()}),
    }
    with folders.atomic_directory(index_dir) as staging:
        sealed = bundle.write_bundle(
            staging,
            bundled,
            item_vectors,
            tuned.index,
            report,
            query_vectors=queries,
            fallback=bundle.fallback_ids(vocabulary),
            attributes=item_attributes.of_bundle(examples_dir, vocabulary, bundled),
        )
        records.write_record(staging, record)
    return manifests.describe(sealed)


def _read_export(
    export_dir: str | Path, examples_dir: str | Path
) -> tuple[dict[str, Any], ItemVocabulary]:
    """Manifest and items of an export, which must be those of the examples."""
    manifest = manifests.read(export_dir)
    manifests.verify(export_dir, manifest)
    vocabulary = records.read_vocabulary(export_dir)
    if records.read_vocabulary(examples_dir).item_ids != vocabulary.item_ids:
        raise InputError(
            f"{export_dir} and {examples_dir} hold different items. Give the examples "
            "the exported model was trained on."
        )
    return manifest, vocabulary


def _build_index(
    item_vectors: np.ndarray, queries: np.ndarray, config: IndexConfig, similarity: str
) -> TunedIndex:
    """Builds and measures an index that finds enough."""
    with tasks.open_task("build the index"), native_log.quiet_native_code():
        index = build_index(item_vectors, config, similarity)
    with tasks.open_task("measure the index"):
        tuned = tune_index(index, ExactIndex(item_vectors), queries, config)
    _require_recall(tuned.recall, config)
    return tuned


def _take_shard(vocabulary: ItemVocabulary, shard: Shard) -> ItemVocabulary:
    """The items that live in a shard, in the order of the whole."""
    rows = [r for r, item_id in enumerate(vocabulary.item_ids) if shard.holds(item_id.encode())]
    if not rows:
        raise InputError(
            f"Shard {shard.number}/{shard.count} gets none of the {len(vocabulary)} items. "
            "Use fewer shards."
        )
    return vocabulary.take(rows)


def _take_clicked(vocabulary: ItemVocabulary, min_clicks: int) -> ItemVocabulary:
    """The items with so many training clicks, in the order of the whole.

    Where items have features, those of which nothing at all is known are left out: an items
    file, and every user, has dropped them since they became a part of the examples.
    """
    is_kept = vocabulary.counts >= min_clicks
    if vocabulary.features is not None:
        is_kept &= (vocabulary.counts > 0) | vocabulary.features.has_values()
    if is_kept.all():
        return vocabulary
    rows = np.flatnonzero(is_kept).tolist()
    if not rows:
        raise InputError(
            f"No item has index.min_clicks = {min_clicks} training clicks, the most clicked one "
            f"has {vocabulary.counts.max()}. Lower it."
        )
    return vocabulary.take(rows)


def read_report(index_dir: str | Path) -> dict[str, Any]:
    """The report of a finished index: its manifest without the checksums."""
    return manifests.describe(manifests.read(index_dir))


def _require_recall(index_recall: float, config: IndexConfig) -> None:
    if index_recall < config.min_index_recall:
        raise InputError(
            f"The index finds {index_recall:.4f} of the exact top {RECALL_K}, less than "
            f"index.min_index_recall = {config.min_index_recall}. Raise "
            "index.target_recall, or set index.kind=exact."
        )
