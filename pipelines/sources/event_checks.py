"""What a row passes before it is an event: ids, times and parts that can be used.

An id is looked at once for all the rows of a batch that have it. Imports no
TensorFlow and opens no file.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources import feature_values
from pipelines.sources.columns.bad_rows import BadRow, BadRows
from pipelines.sources.columns.column_types import has_text, to_mask, to_text
from pipelines.sources.columns.event_times import EventTimes
from pipelines.sources.columns.id_checks import is_null_marker
from pipelines.sources.columns.read_options import ReadOptions
from pipelines.sources.event_columns import FEATURE_FIELD, NAMED_SPLITS, EventColumns
from pipelines.sources.event_marks import read_marks
from recall.feature_columns.declaration import FeatureColumn
from recall.item_ids import UNUSABLE_ITEM_ID

_ENCODED = pa.dictionary(pa.int32(), pa.string())
_IDS = ("user_id", "item_id")


class RawBatch(NamedTuple):
    """Rows as a reader found them, before the checks.

    Attributes:
        columns: `user_id`, `item_id`, `timestamp` (where the log has times) and
            perhaps `split`, `event_type`, `weight`, each an array of whatever type the
            input has.
        rows: `[n]` int64, 0-based data row numbers in the whole input.
        file: Where the rows come from, for messages.
        first_row: Number in the whole input of the first data row of `file`.
    """

    columns: dict[str, pa.Array]
    rows: np.ndarray
    file: str
    first_row: int


def check_rows(
    raw: RawBatch,
    columns: EventColumns,
    options: ReadOptions,
    bad_rows: BadRows,
    times: EventTimes,
    features: Sequence[FeatureColumn] = (),
) -> pa.RecordBatch:
    """Converts the columns of `raw` and drops, and counts, the rows that are bad.

    Returns:
        The columns of an event and of features, ids and names as dictionaries.

    Raises:
        InputError: A column has a type that cannot be ids or times, times of two units, or a
            value that its feature cannot have.
    """
    values, problems = {}, []
    for field in _IDS:
        ids = values[field] = encode_ids(raw.columns[field], raw.file, getattr(columns, field))
        problems += [
            (reason, field, wrong) for reason, wrong in _find_wrong_ids(ids, field, options)
        ]
    if columns.has_time:
        seconds = times.to_seconds(raw.columns["timestamp"], raw.file, raw.rows - raw.first_row)
        problems.append((times.expected, "timestamp", np.isnan(seconds)))
    else:
        seconds = raw.rows.astype(np.float64)
    values["timestamp"] = pa.array(seconds)
    if "split" in raw.columns:
        values["split"] = to_text(raw.columns["split"], raw.file, columns.split)
        known = pc.is_in(values["split"], value_set=pa.array(NAMED_SPLITS))
        problems.append(
            (f"a split must be one of {', '.join(NAMED_SPLITS)}", "split", ~to_mask(known))
        )
    kinds = raw.columns.get("event_type")
    if kinds is not None:
        kinds = encode_ids(kinds, raw.file, columns.event_type)
    marks = read_marks(raw.columns, kinds, raw.file, columns)
    bad = _count_bad(raw, columns, bad_rows, problems + marks.problems)
    values["row"] = pa.array(raw.rows, pa.int64())
    names = ["user_id", "item_id", "timestamp", "row", *(["split"] if "split" in values else [])]
    values |= marks.columns
    names += list(marks.columns)
    for feature in features:
        names.append(FEATURE_FIELD + feature.name)
        values[names[-1]] = _read_feature(feature, raw, raw.columns[names[-1]])
    batch = pa.RecordBatch.from_arrays([values[name] for name in names], names=names)
    return batch.filter(pa.array(~bad)) if bad.any() else batch


def _read_feature(feature: FeatureColumn, raw: RawBatch, array: pa.Array) -> pa.Array:
    """The values of a feature: names as a dictionary, numbers as they are."""
    if feature.kind == "numeric":
        rows = raw.rows - raw.first_row
        return feature_values.read_feature(feature, array, rows, raw.file)
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.string())
    return encode_ids(array, raw.file, feature.source)


def encode_ids(array: pa.Array, file: str = "", column: str = "") -> pa.DictionaryArray:
    """Ids of any type that `to_text` takes, as a dictionary of texts.

    Raises:
        InputError: The type is another.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if pa.types.is_dictionary(kind) and array.dictionary.null_count:
        array, kind = array.dictionary_decode(), kind.value_type
    if not pa.types.is_dictionary(kind):
        if pa.types.is_null(kind):
            array = to_text(array, file, column)
        array = array.dictionary_encode()
    if array.type == _ENCODED:
        return array
    texts = to_text(array.dictionary, file, column)
    return pa.DictionaryArray.from_arrays(array.indices.cast(pa.int32()), texts)


def decode_ids(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns of an event with ids as texts."""
    columns = [
        column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _find_wrong_ids(
    ids: pa.DictionaryArray, field: str, options: ReadOptions
) -> list[tuple[str, np.ndarray]]:
    """Reasons, and `[n]` bool for each, why ids cannot be used."""
    texts, name = ids.dictionary, field[:4]
    found = [(f"an empty {name} id", ~has_text(texts), True)]
    if options.null_markers == "bad":
        reason = f"a marker of a missing {name} id (--null_markers=ids takes it as an id)"
        found.append((reason, is_null_marker(texts), False))
    if field == "item_id":
        reason = "an item id with a line break, or with NUL at its end"
        found.append((reason, _is_unusable(texts), False))
    codes = None
    wrong = []
    for reason, wrong_texts, missing in found:
        if wrong_texts.any() or (missing and ids.null_count):
            if codes is None:
                codes = ids.indices.fill_null(len(texts)).to_numpy()
            wrong.append((reason, np.append(wrong_texts, missing)[codes]))
    return wrong


def _is_unusable(texts: pa.StringArray) -> np.ndarray:
    """`[n]` bool, where a text matches `UNUSABLE_ITEM_ID`."""
    data = texts.buffers()[2]
    view = memoryview(data) if data is not None else b""
    if not any(np.any(np.frombuffer(view, np.uint8) == byte) for byte in b"\n\r\0"):
        return np.zeros(len(texts), bool)
    return to_mask(pc.match_substring_regex(texts, UNUSABLE_ITEM_ID))


def _count_bad(
    raw: RawBatch,
    columns: EventColumns,
    bad_rows: BadRows,
    problems: Sequence[tuple[str, str, np.ndarray]],
) -> np.ndarray:
    """`[n]` bool, the rows with any problem; each is counted for its first one."""
    bad = np.zeros(len(raw.rows), bool)
    for reason, field, wrong in problems:
        first_wrong = np.flatnonzero(wrong & ~bad)
        if len(first_wrong):
            at = int(first_wrong[0])
            row = int(raw.rows[at]) - raw.first_row + 1
            value = _show(raw.columns[field][at])
            place = BadRow(len(first_wrong), raw.file, row, getattr(columns, field), value)
            bad_rows.add(reason, place)
        bad |= wrong
    return bad


def _show(scalar: pa.Scalar) -> str:
    value = scalar.as_py()
    return "" if value is None else str(value)
