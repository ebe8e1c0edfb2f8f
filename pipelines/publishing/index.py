"""The index job: exported towers -> a measured and sealed index bundle.

Items are embedded by the exported item tower and users by the exported user
tower, so what is measured is what will be served.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.artifacts import records
from pipelines.progress import tasks
from pipelines.publishing import native_log
from pipelines.publishing.embed import build_queries, embed_items
from pipelines.publishing.index_choice import RECALL_K, tune_index
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
    manifest = manifests.read(export_dir)
    manifests.verify(export_dir, manifest)
    vocabulary = records.read_vocabulary(export_dir)
    if records.read_vocabulary(examples_dir).item_ids != vocabulary.item_ids:
        raise InputError(
            f"{export_dir} and {examples_dir} hold different items. Give the examples "
            "the exported model was trained on."
        )
    fallback = bundle.fallback_ids(vocabulary)
    bundled, shard_values = vocabulary, {}
    if shard is not None:
        bundled, shard_values = _take_shard(vocabulary, shard), {shards.KEY: shard._asdict()}
    item_vectors = embed_items(export_dir, bundled, manifest["fingerprint"])
    queries, measured_on = build_queries(export_dir, examples_dir, vocabulary, item_vectors)
    with tasks.open_task("build the index"), native_log.quiet_native_code():
        index = build_index(item_vectors, config.index, manifest["similarity"])
    with tasks.open_task("measure the index"):
        index, index_recall, tuning = tune_index(
            index, ExactIndex(item_vectors), queries, config.index
        )
    _require_recall(index_recall, config.index)
    report = {
        "fingerprint": manifest["fingerprint"],
        "similarity": manifest["similarity"],
        RECALL_KEY: index_recall,
        "measured_on": measured_on,
        "num_queries": len(queries),
        **({_TUNING_KEY: tuning} if tuning else {}),
        **shard_values,
    }
    with folders.atomic_directory(index_dir) as staging:
        sealed = bundle.write_bundle(
            staging,
            bundled,
            item_vectors,
            index,
            report,
            query_vectors=queries,
            fallback=fallback,
        )
        records.write_record(staging, record)
    return _report(sealed)


def _take_shard(vocabulary: ItemVocabulary, shard: Shard) -> ItemVocabulary:
    """The items that live in a shard, in the order of the whole."""
    rows = [r for r, item_id in enumerate(vocabulary.item_ids) if shard.holds(item_id.encode())]
    if not rows:
        raise InputError(
            f"Shard {shard.number}/{shard.count} gets none of the {len(vocabulary)} items. "
            "Use fewer shards."
        )
    return vocabulary.take(rows)


def read_report(index_dir: str | Path) -> dict[str, Any]:
    """The report of a finished index: its manifest without the checksums."""
    return _report(manifests.read(index_dir))


def _report(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key not in ("files", "checksum")}


def _require_recall(index_recall: float, config: IndexConfig) -> None:
    if index_recall < config.min_index_recall:
        raise InputError(
            f"The index finds {index_recall:.4f} of the exact top {RECALL_K}, less than "
            f"index.min_index_recall = {config.min_index_recall}. Raise "
            "index.target_recall, or set index.kind=exact."
        )
