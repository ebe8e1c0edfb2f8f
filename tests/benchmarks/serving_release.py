"""A release of any size: real towers with random weights over a clustered catalogue.

To search and to serve costs the same with trained weights; that what is found
is good is no matter of these benchmarks.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.publishing.index_choice import tune_index
from recall.config import RecallConfig
from recall.item_tower import ItemTower
from recall.towers import UserTower
from recall.vocabulary import ItemVocabulary
from serving.index.bundle import write_bundle
from serving.index.exact_index import ExactIndex
from serving.index.scann_index import build_index
from serving.release import export, manifest
from tests.category_features import with_categories_as_feature

NUM_CLUSTERS = 2000
"""As real catalogues, items lie in groups; as many as the figures of the design are for."""

_SPREAD = 0.7
"""Length of an item's own part beside that of its cluster; 0 would be one point."""

_NUM_QUERIES = 512


def draw_unit_vectors(num_rows: int, dim: int, seed: int, clusters_seed: int = 0) -> np.ndarray:
    """`[num_rows, dim]` float32 unit vectors around the directions of the clusters."""
    centres = np.random.default_rng(clusters_seed).standard_normal((NUM_CLUSTERS, dim))
    centres = (centres / np.linalg.norm(centres, axis=1, keepdims=True)).astype(np.float32)
    generator = np.random.default_rng((seed, 1))
    vectors = generator.standard_normal((num_rows, dim), dtype=np.float32)
    vectors *= _SPREAD / np.sqrt(dim)
    vectors += centres[generator.integers(NUM_CLUSTERS, size=num_rows)]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_release(
    serving_dir: Path,
    version: int,
    num_items: int,
    config: RecallConfig | None = None,
    categories: Sequence[Sequence[str]] | None = None,
) -> np.ndarray:
    """Writes a release in the published layout.

    Args:
        serving_dir: Folder of releases; made where it is missing.
        version: Number of the release; it also seeds the vectors.
        num_items: Items `i0`, `i1`, ...
        config: Its sections `model` and `index`.
        categories: Of every item; None gives none.

    Returns:
        `[num_items, dim]` float32, the vectors of the items.
    """
    config = config or RecallConfig()
    item_ids, counts = [f"i{row}" for row in range(num_items)], range(num_items, 0, -1)
    vocabulary = ItemVocabulary(item_ids, counts, categories)
    if config.model.use_categories:
        vocabulary = with_categories_as_feature(vocabulary)
    fingerprint = _write_towers(serving_dir, version, vocabulary, config)
    vectors = draw_unit_vectors(num_items, config.model.dim, seed=version)
    queries = draw_unit_vectors(_NUM_QUERIES, config.model.dim, seed=version + 1_000_000)
    index = build_index(vectors, config.index, config.model.similarity)
    index, recall, _ = tune_index(index, ExactIndex(vectors), queries, config.index)
    index_dir = serving_dir / "index" / str(version)
    index_dir.mkdir(parents=True)
    values = {"similarity": config.model.similarity, "recall@100": recall}
    write_bundle(
        index_dir,
        vocabulary,
        vectors,
        index,
        {"fingerprint": fingerprint, **values},
        query_vectors=queries,
    )
    return vectors


def _write_towers(
    serving_dir: Path, version: int, vocabulary: ItemVocabulary, config: RecallConfig
) -> str:
    """Exports and places both towers; returns their fingerprint."""
    export_dir = serving_dir / f"export-{version}"
    export_dir.mkdir(parents=True)
    item_tower = ItemTower(config.model, vocabulary)
    user_tower = UserTower(config.model, item_tower)
    sealed = export.export_towers(user_tower, item_tower, vocabulary, config, export_dir)
    for part in (export.USER_TOWER, export.ITEM_TOWER):
        destination = serving_dir / part / str(version)
        destination.parent.mkdir(exist_ok=True)
        (export_dir / part).rename(destination)
        names = ("fingerprint", "features", "max_unknown_share")
        manifest.seal(destination, {name: sealed[name] for name in names if name in sealed})
    (export_dir / manifest.MANIFEST_NAME).unlink()
    export_dir.rmdir()
    return sealed["fingerprint"]
