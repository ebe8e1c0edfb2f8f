"""Vectors from exported towers: of all items, and of held-out users.

What is measured with them is what will be served.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipelines.artifacts import held_out, records
from pipelines.progress import tasks
from recall.errors import InputError
from recall.features import HISTORY_ITEM_IDS
from recall.vocabulary import FIRST_ITEM_ID, PADDING_TOKEN, ItemVocabulary
from serving.protocol.signatures import DEFAULT_SIGNATURE
from serving.release import manifest as manifests
from serving.release import paths, storage
from serving.release.release import ITEM_TOWER, USER_TOWER
from serving.release.tower_modules import ITEM_IDS_INPUT

_MAX_USERS = 2000
"""Users whose vectors measure the index: with 4 interests, 8,000 queries of
100 neighbours put the standard error of recall@100 near .001."""


_ITEM_BATCH = 8192
"""Items embedded per call: 2 MB of vectors at 64 dimensions."""


_USER_BATCH = 256
"""Histories embedded per call."""


def embed_items(export_dir: str | Path, vocabulary: ItemVocabulary, fingerprint: str) -> np.ndarray:
    """`[num_items, dim]` float32, all items through the exported item tower.

    Raises:
        InputError: The tower cannot be loaded, has another fingerprint, or
            does not know an item.
    """
    item_tower = _load_signature(Path(export_dir) / ITEM_TOWER)
    parts = []
    with tasks.open_task("embed items", total=vocabulary.num_items, unit="items") as task:
        for start in range(0, vocabulary.num_items, _ITEM_BATCH):
            batch = vocabulary.item_ids[start : start + _ITEM_BATCH]
            outputs = item_tower(**{ITEM_IDS_INPUT: tf.constant(batch)})
            if not tf.reduce_all(outputs["is_known"]) or outputs["fingerprint"][0] != fingerprint:
                raise InputError(
                    f"The item tower of {export_dir} is not the one its manifest describes. "
                    + records.how_to_renew(export_dir, "export")
                )
            parts.append(outputs["item_vectors"].numpy())
            task.advance(len(batch))
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
    statistics = storage.read_json(Path(examples_dir) / records.STATISTICS_NAME)
    return statistics.get("splits", {}).get(split, {}).get("examples", 0)


def embed_histories(
    export_dir: str | Path, histories: Sequence[np.ndarray], vocabulary: ItemVocabulary
) -> np.ndarray:
    """Histories of dense ids through the exported user tower.

    Returns:
        `[num_users, num_interests, dim]` float32, users in the given order;
        those without a known item are left out.
    """
    user_tower = _load_signature(Path(export_dir) / USER_TOWER)
    length = manifests.read(export_dir)["max_history_length"]
    parts = []
    with tasks.open_task("embed users", total=len(histories), unit="users") as task:
        for start in range(0, len(histories), _USER_BATCH):
            batch = histories[start : start + _USER_BATCH]
            known = [history[history >= FIRST_ITEM_ID][-length:] for history in batch]
            rows = [vocabulary.to_raw(history) for history in known]
            padded = [row + [PADDING_TOKEN] * (length - len(row)) for row in rows]
            outputs = user_tower(**{HISTORY_ITEM_IDS: tf.constant(padded)})
            parts.append(outputs["user_vectors"].numpy()[outputs["num_known"].numpy() > 0])
            task.advance(len(batch))
    return np.concatenate(parts)


def _load_signature(saved_model_dir: Path) -> Callable[..., Mapping[str, tf.Tensor]]:
    """The default signature of an exported tower.

    Raises:
        InputError: The folder holds no such SavedModel.
    """
    try:
        with paths.without_pattern(saved_model_dir) as folder:
            model = tf.saved_model.load(str(folder))
        signature = model.signatures[DEFAULT_SIGNATURE]
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise InputError(
            f"{saved_model_dir} cannot be loaded ({error}). "
            + records.how_to_renew(saved_model_dir.parent, "export")
        ) from error
    signature.model = model  # The weights live as long as the model does.
    return signature
