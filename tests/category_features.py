"""Categories of a vocabulary as the feature that `model.use_categories` declares."""

import dataclasses

import pyarrow as pa

from recall.feature_columns.declaration import CATEGORY_FEATURE
from recall.feature_columns.item_features import ItemFeatures
from recall.vocabulary import ItemVocabulary


def with_categories_as_feature(vocabulary: ItemVocabulary, min_count: int = 1) -> ItemVocabulary:
    """The same items; every name of one with training clicks is known.

    Args:
        vocabulary: With categories, and with training clicks of some items.
        min_count: Of the feature, by default less than that of the setting: for small catalogues.
    """
    column = dataclasses.replace(CATEGORY_FEATURE, min_count=min_count)
    lists = pa.array([list(names) for names in vocabulary.categories], pa.list_(pa.string()))
    table = pa.table({column.name: lists})
    return vocabulary.with_features(ItemFeatures.fit([column], table, vocabulary.counts))
