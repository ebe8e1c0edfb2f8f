"""Attributes of items among the examples: kept for the index, looked at by no model.

Imports no TensorFlow.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artifacts import records
from recall.errors import InputError
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary
from serving.index.attributes import ItemAttributes

FILE_NAME = "item_attributes.parquet"
"""Row by row of the vocabulary; there where attributes are declared."""


def write(examples_dir: str | Path, attributes: ItemAttributes | None) -> None:
    """Writes `FILE_NAME` into `examples_dir`; nothing where there are none."""
    if attributes is not None:
        pq.write_table(attributes.to_table(), Path(examples_dir) / FILE_NAME)


def of_bundle(
    examples_dir: str | Path, vocabulary: ItemVocabulary, bundled: ItemVocabulary
) -> ItemAttributes | None:
    """What requests can filter the items of a bundle on, row by row; None for nothing.

    Args:
        examples_dir: Folder of a finished ingest.
        vocabulary: All items of the examples.
        bundled: Those of the bundle, with their features.

    Raises:
        InputError: A file is damaged.
    """
    path = Path(examples_dir) / FILE_NAME
    if not path.exists():
        return ItemAttributes.of_items(bundled.features)
    try:
        kept = ItemAttributes.from_table(pq.read_table(path))
        kept = kept.take(vocabulary.to_dense(bundled.item_ids) - FIRST_ITEM_ID)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"Cannot read {path}: {error}. {records.how_to_renew(examples_dir, 'ingest')}"
        ) from error
    return ItemAttributes.of_items(bundled.features, tuple(kept.declared.values()), kept.table)
