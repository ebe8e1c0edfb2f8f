"""The item vectors of a trained model for TensorBoard's embedding projector.

The projector shows vectors as points, coloured by a column of the metadata, and finds the
neighbours of one: whether an item's neighbours make sense is seen at a glance.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipelines.artifacts.trained_model import TrainedModel
from pipelines.evaluation import vectors
from pipelines.progress import tasks
from recall.vocabulary import ItemVocabulary
from serving.release import folders

CONFIG_NAME = "projector_config.pbtxt"
FOLDER_NAME = "projector"
VECTORS_NAME, METADATA_NAME = "vectors.tsv", "metadata.tsv"

_CONFIG = f"""embeddings {{
  tensor_name: "items"
  tensor_path: "{FOLDER_NAME}/{VECTORS_NAME}"
  metadata_path: "{FOLDER_NAME}/{METADATA_NAME}"
}}
"""

_COLUMNS = ("title", "item_id", "first_category", "categories", "training_clicks")
"""The first is what a point is labelled with, any may colour the points."""


def write_projector(trained: TrainedModel, logs_dir: Path, max_items: int) -> int:
    """Writes vectors and metadata of the most clicked items below `logs_dir`.

    Args:
        trained: A model.
        logs_dir: What TensorBoard reads.
        max_items: Items at most: a browser holds some ten thousand points.

    Returns:
        The number of items.

    Raises:
        InputError: The folder cannot be written to.
    """
    vocabulary = trained.vocabulary
    num_items = min(max_items, vocabulary.num_items)
    # The rows of a vocabulary are ordered by their clicks.
    item_vectors = vectors.compute_item_vectors(trained.model, num_items)
    with (
        tasks.open_task("write item vectors", total=num_items, unit="items") as task,
        folders.atomic_directory(logs_dir / FOLDER_NAME) as staging,
    ):
        _write(staging / VECTORS_NAME, map(_vector_line, item_vectors))
        _write(staging / METADATA_NAME, _metadata_lines(vocabulary, num_items))
        task.advance(num_items)
    partial = logs_dir / f".{CONFIG_NAME}.partial"
    partial.write_text(_CONFIG, encoding="utf-8")
    partial.replace(logs_dir / CONFIG_NAME)
    return num_items


def _write(path: Path, lines: Iterable[str]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _vector_line(vector: np.ndarray) -> str:
    return "\t".join(f"{number:.5g}" for number in vector.tolist())


def _metadata_lines(vocabulary: ItemVocabulary, num_items: int) -> Iterable[str]:
    yield "\t".join(_COLUMNS)
    for row in range(num_items):
        item_id, categories = vocabulary.item_ids[row], vocabulary.categories[row]
        cells: Sequence[str] = (
            vocabulary.titles[row] or item_id,
            item_id,
            categories[0] if categories else "",
            "|".join(categories),
            str(int(vocabulary.counts[row])),
        )
        yield "\t".join(map(_one_cell, cells))


def _one_cell(text: str) -> str:
    """A text without what would begin another cell or row."""
    return " ".join(text.split()) or "-"
