"""`schema.pbtxt`: what the examples hold, in TensorFlow Metadata's words.

TensorFlow Data Validation and TFX read it. Imports no TensorFlow.
"""

from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipelines.artifacts.event_columns import NOTHING_FOUND, ColumnsFound
from recall.config import RecallConfig
from recall.vocabulary import FIRST_ITEM_ID, UNKNOWN_ID

SCHEMA_NAME = "schema.pbtxt"

# Feature names as in `recall.features`, which imports TensorFlow; a test
# compares the two.
_TRAIN, _HELD_OUT = ("train",), ("valid", "test")
_SPLITS = (*_TRAIN, *_HELD_OUT)


def build_schema(
    num_items: int,
    max_history_length: int,
    num_targets: int | None,
    columns: ColumnsFound = NOTHING_FOUND,
) -> schema_pb2.Schema:
    """Describes the examples of all splits, one environment per split.

    Args:
        num_items: Size of the vocabulary.
        max_history_length: Input slots of the model; windows have one id more.
        num_targets: Positives of every held-out example, None if they vary.
        columns: What is known of events beside their items, if anything.
    """
    schema = schema_pb2.Schema(default_environment=list(_SPLITS))
    last_id = num_items + FIRST_ITEM_ID - 1
    _add_ids(schema, "item_ids", _TRAIN, last_id, fewest=2, most=max_history_length + 1)
    user_id = schema.feature.add(
        name="user_id", type=schema_pb2.BYTES, not_in_environment=_others(_HELD_OUT)
    )
    user_id.presence.min_fraction = 1.0
    user_id.value_count.min = user_id.value_count.max = 1
    trained = schema.feature.add(
        name="num_trained", type=schema_pb2.INT, not_in_environment=_others(_HELD_OUT)
    )
    trained.presence.min_fraction = 1.0
    trained.value_count.min = trained.value_count.max = 1
    trained.int_domain.min = 0
    _add_ids(schema, "history", _HELD_OUT, last_id, fewest=1)
    _add_ids(schema, "positives", _HELD_OUT, last_id, fewest=num_targets or 1, most=num_targets)
    _add_columns(schema, columns, last_id, max_history_length)
    return schema


def _add_columns(
    schema: schema_pb2.Schema, columns: ColumnsFound, last_id: int, max_history_length: int
) -> None:
    """Adds what examples have of events beside their items."""
    for name, environments in (
        ("event_kinds", _TRAIN),
        ("positive_kinds", _HELD_OUT),
    ):
        if columns.kinds:
            feature = _add_list(schema, name, environments, fewest=1)
            feature.int_domain.min, feature.int_domain.max = 1, len(columns.kinds)
            feature.int_domain.is_categorical = True
    if columns.weights:
        feature = _add_list(schema, "event_weights", _TRAIN, fewest=2)
        feature.type, feature.float_domain.min = schema_pb2.FLOAT, 0.0
    if columns.times:
        for name, environments, fewest in (
            ("timestamps", _TRAIN, 2),
            ("history_timestamps", _HELD_OUT, 1),
            ("positive_timestamps", _HELD_OUT, 1),
        ):
            _add_list(schema, name, environments, fewest=fewest).int_domain.min = 0
    for name, facts in columns.features.items():
        held_out = ("history", "positive") if facts["owner"] == "event" else ("request",)
        splits = {"event": _TRAIN} | dict.fromkeys(held_out, _HELD_OUT)
        for of_split, environments in splits.items():
            if facts["kind"] == "timestamp":
                continue
            feature = _add_list(schema, f"{of_split}_value:{name}", environments, fewest=1)
            if facts["kind"] == "numeric":
                feature.type = schema_pb2.FLOAT
            else:
                feature.int_domain.min, feature.int_domain.is_categorical = 0, True
    if columns.users:
        _add_list(schema, "user_row", _SPLITS, fewest=1).int_domain.min = 0
        for feature in schema.feature:  # Before the first event there is a slot that is none.
            if feature.name in ("item_ids", "history"):
                feature.int_domain.min = UNKNOWN_ID
    if columns.shown is not None:
        counts = _add_list(schema, "shown_counts", _TRAIN, fewest=1)
        counts.value_count.max, counts.int_domain.min = max_history_length, 0
        _add_ids(schema, "shown_ids", _TRAIN, last_id, fewest=0)


def _add_ids(
    schema: schema_pb2.Schema,
    name: str,
    environments: Sequence[str],
    last_id: int,
    *,
    fewest: int,
    most: int | None = None,
) -> None:
    """Adds a list of dense ids."""
    feature = _add_list(schema, name, environments, fewest=fewest)
    if most is not None:
        feature.value_count.max = most
    feature.int_domain.name = "dense_item_id"
    feature.int_domain.min, feature.int_domain.max = FIRST_ITEM_ID, last_id
    feature.int_domain.is_categorical = True


def _add_list(
    schema: schema_pb2.Schema, name: str, environments: Sequence[str], *, fewest: int
) -> schema_pb2.Feature:
    """Adds a list of numbers that every example has."""
    feature = schema.feature.add(
        name=name, type=schema_pb2.INT, not_in_environment=_others(environments)
    )
    feature.presence.min_fraction = 1.0
    feature.value_count.min = fewest
    return feature


def _others(environments: Sequence[str]) -> list[str]:
    """The environments that a feature is not in: it is in all defaults but those it denies."""
    return [split for split in _SPLITS if split not in environments]


def write_schema(examples_dir: str | Path, schema: schema_pb2.Schema) -> None:
    """Writes `schema.pbtxt`."""
    text = text_format.MessageToString(schema)
    (Path(examples_dir) / SCHEMA_NAME).write_text(text, encoding="utf-8")


def write_for(
    examples_dir: str | Path,
    config: RecallConfig,
    num_items: int,
    columns: ColumnsFound = NOTHING_FOUND,
) -> None:
    """Writes `schema.pbtxt` of the examples that ingest makes under some settings."""
    ingest = config.ingest
    num_targets = {"leave_one_out": 1, "next_n": ingest.num_targets}.get(ingest.protocol)
    built = build_schema(num_items, config.model.max_history_length, num_targets, columns)
    write_schema(examples_dir, built)
