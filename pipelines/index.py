"""The index job: exported towers -> a measured and sealed index bundle.

Items are embedded by the exported item tower and users by the exported user
tower, so what is measured is what will be served.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines import artifacts, held_out
from pipelines.commands.shared import console_log
from pipelines.index_choice import RECALL_K, tune_index
from recall.config import IndexConfig, RecallConfig
from recall.errors import InputError
from recall.features import HISTORY_ITEM_IDS
from recall.vocabulary import FIRST_ITEM_ID, PADDING_TOKEN, ItemVocabulary
from serving import bundle, export, folders, paths, shards, storage
from serving import manifest as manifests
from serving.exact_index import ExactIndex
from serving.scann_index import build_index
from serving.shards import Shard

_JOB = "index"

_TUNING_KEY = "tuning"
"""Of the manifest: why the index is as it is, where ScaNN was tried."""

RECALL_KEY = f"recall@{RECALL_K}"

_MAX_USERS = 2000
"""Users whose vectors measure the index: with 4 interests, 8,000 queries of
100 neighbours put the standard error of recall@100 near .001."""

_ITEM_BATCH = 8192
"""Items embedded per call: 2 MB of vectors at 64 dimensions."""

_USER_BATCH = 256
"""Histories embedded per call."""


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
        "export": artifacts.checksum_of_record(export_dir, "export"),
        "examples": artifacts.checksum_of_record(examples_dir, "ingest"),
    }
    settings = config.to_dict(["index"])
    if shard is not None:
        settings[shards.KEY] = shard._asdict()
    return artifacts.build_record(_JOB, settings, inputs)


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
    vocabulary = artifacts.read_vocabulary(export_dir)
    if artifacts.read_vocabulary(examples_dir).item_ids != vocabulary.item_ids:
        raise InputError(
            f"{export_dir} and {examples_dir} hold different items. Give the examples "
            "the exported model was trained on."
        )
    fallback = bundle.popular_items(vocabulary)
    held, values = vocabulary, {}
    if shard is not None:
        held, values = _take_shard(vocabulary, shard), {shards.KEY: shard._asdict()}
    item_vectors = embed_items(export_dir, held, manifest["fingerprint"])
    queries, measured_on = build_queries(export_dir, examples_dir, vocabulary, item_vectors)
    with console_log.quiet_native_code():
        index = build_index(item_vectors, config.index, manifest["similarity"])
    index, index_recall, tuning = tune_index(index, ExactIndex(item_vectors), queries, config.index)
    _require_recall(index_recall, config.index)
    report = {
        "fingerprint": manifest["fingerprint"],
        "similarity": manifest["similarity"],
        RECALL_KEY: index_recall,
        "measured_on": measured_on,
        "num_queries": len(queries),
        **({_TUNING_KEY: tuning} if tuning else {}),
        **values,
    }
    with folders.atomic_directory(index_dir) as staging:
        sealed = bundle.write_bundle(
            staging,
            held,
            item_vectors,
            index,
            report,
            query_vectors=queries,
            fallback=fallback,
        )
        artifacts.write_record(staging, record)
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


def embed_items(export_dir: str | Path, vocabulary: ItemVocabulary, fingerprint: str) -> np.ndarray:
    """`[num_items, dim]` float32, all items through the exported item tower.

    Raises:
        InputError: The tower cannot be loaded, has another fingerprint, or
            does not know an item.
    """
    item_tower = _load_signature(Path(export_dir) / export.ITEM_TOWER)
    parts = []
    for start in range(0, vocabulary.num_items, _ITEM_BATCH):
        batch = vocabulary.item_ids[start : start + _ITEM_BATCH]
        outputs = item_tower(**{export.ITEM_IDS: tf.constant(batch)})
        if not tf.reduce_all(outputs["is_known"]) or outputs["fingerprint"][0] != fingerprint:
            raise InputError(
                f"The item tower of {export_dir} is not the one its manifest describes. "
                + artifacts.how_to_renew(export_dir, "export")
            )
        parts.append(outputs["item_vectors"].numpy())
    return np.concatenate(parts)


def build_queries(
    export_dir: str | Path,
    examples_dir: str | Path,
    vocabulary: ItemVocabulary,
    item_vectors: np.ndarray,
) -> tuple[np.ndarray, str]:
    """Vectors to measure an index with: interests of held-out users, else items.

    Returns:
        `[num_queries, dim]` float32 in random order, and what they are from.
    """
    generator = np.random.default_rng(0)
    for split in ("test", "valid"):
        if not _num_examples(examples_dir, split):
            continue
        histories = held_out.read_held_out(examples_dir, split).histories
        users = generator.permutation(len(histories))[:_MAX_USERS]
        vectors = embed_histories(export_dir, [histories[u] for u in users], vocabulary)
        if len(vectors):
            return vectors.reshape(-1, vectors.shape[-1]), f"users of Split-{split}"
    rows = generator.permutation(len(item_vectors))[:_MAX_USERS]
    return item_vectors[rows], "items"


def _num_examples(examples_dir: str | Path, split: str) -> int:
    statistics = storage.read_json(Path(examples_dir) / artifacts.STATISTICS_NAME)
    return statistics.get("splits", {}).get(split, {}).get("examples", 0)


def embed_histories(
    export_dir: str | Path, histories: Sequence[np.ndarray], vocabulary: ItemVocabulary
) -> np.ndarray:
    """Histories of dense ids through the exported user tower.

    Returns:
        `[num_users, num_interests, dim]` float32, users in the given order;
        those without a known item are left out.
    """
    user_tower = _load_signature(Path(export_dir) / export.USER_TOWER)
    length = manifests.read(export_dir)["max_history_length"]
    parts = []
    for start in range(0, len(histories), _USER_BATCH):
        known = [h[h >= FIRST_ITEM_ID][-length:] for h in histories[start : start + _USER_BATCH]]
        rows = [vocabulary.to_raw(history) for history in known]
        padded = [row + [PADDING_TOKEN] * (length - len(row)) for row in rows]
        outputs = user_tower(**{HISTORY_ITEM_IDS: tf.constant(padded)})
        parts.append(outputs["user_vectors"].numpy()[outputs["num_known"].numpy() > 0])
    return np.concatenate(parts)


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


def _load_signature(saved_model_dir: Path) -> Callable[..., Mapping[str, tf.Tensor]]:
    """The default signature of an exported tower.

    Raises:
        InputError: The folder holds no such SavedModel.
    """
    try:
        with paths.without_pattern(saved_model_dir) as folder:
            model = tf.saved_model.load(str(folder))
        signature = model.signatures[export.DEFAULT_SIGNATURE]
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise InputError(
            f"{saved_model_dir} cannot be loaded ({error}). "
            + artifacts.how_to_renew(saved_model_dir.parent, "export")
        ) from error
    signature.model = model  # The weights live as long as the model does.
    return signature


if __name__ == "__main__":
    from pipelines import cli

    cli.main_of(_JOB)
