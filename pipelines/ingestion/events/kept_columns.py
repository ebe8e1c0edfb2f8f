"""What is kept of features, beside the sequences of users, for days that are added.

Names of the log with their numbers, which stay what they are; how often each name and number
occurs; who is in the users file. Imports no TensorFlow.
"""

from collections.abc import Sequence

from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import log_features, log_names, user_rows
from pipelines.ingestion.events.log_features import NAME_USES, VALUE_COUNTS
from recall.feature_columns.declaration import FeatureColumn


def keep(
    stored: ShardFiles,
    files: ShardFiles,
    features: Sequence[FeatureColumn],
    shards: Sequence[int],
) -> None:
    """Stores what a first log has.

    Args:
        stored: What is kept.
        files: Of the steps of ingest.
        features: Those of the log.
        shards: Those that the steps have counted.
    """
    for _, feature in log_names.with_names(features):
        log_names.write_names(stored, feature, log_names.read_names(files, feature))
    named = [feature for _, feature in log_names.with_names(features)]
    for step, counted in ((VALUE_COUNTS, features), (NAME_USES, named)):
        counts = log_features.sum_counts(files, step, shards, counted)
        log_features.write_counts(stored, step, 0, counts)
    known = user_rows.read_known(files)
    if known is not None:
        user_rows.write_known(stored, known)
