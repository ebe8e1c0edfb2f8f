"""Examples of one kind as the records of a TFRecord file, all at once.

The bytes are those of `tf.train.Example.SerializeToString(deterministic=True)`:
features by name, lists of numbers packed. Imports no TensorFlow.

Reference:
    `tensorflow/core/example/example.proto` and `feature.proto`;
    https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipelines.ingestion.encoding import crc32c
from pipelines.ingestion.encoding.byte_columns import (
    ByteRows,
    Column,
    Constant,
    Fixed,
    Ranges,
    Varint,
    join_columns,
    varint_sizes,
)

_BYTES_FIELD, _LENGTH_DELIMITED = 0x0A, 2
"""Tag of field 1 with a length: the only field of every message but `Feature` and the map."""
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = ((n << 3) | _LENGTH_DELIMITED for n in (1, 2, 3))
_MAP_VALUE = (2 << 3) | _LENGTH_DELIMITED
_HEADER_BYTES = 12
"""Of a record: its length and the checksum of that."""


class Feature(NamedTuple):
    """One feature of every example.

    Attributes:
        values: Its values: packed varints of an int64 list, packed numbers of a float list,
            or the one value of a bytes list. Of an empty list TensorFlow would write no
            values at all; parsers take both for the same.
        is_bytes: Whether it is a bytes list.
        is_float: Whether it is a float list.
    """

    values: Ranges
    is_bytes: bool = False
    is_float: bool = False

    @property
    def tag(self) -> int:
        """Of the kind of list."""
        if self.is_bytes:
            return _BYTES_LIST
        return _FLOAT_LIST if self.is_float else _INT64_LIST


def serialize(features: Mapping[str, Feature], num_examples: int) -> ByteRows:
    """Serialised examples, one to a row."""
    return join_columns(_columns(features)[0], num_examples)


def frame(features: Mapping[str, Feature], num_examples: int) -> ByteRows:
    """TFRecord records, one to an example."""
    columns, lengths = _columns(features)
    sizes = np.asarray(lengths, "<u8")
    checks = crc32c.mask(crc32c.of_numbers(sizes))
    later = Fixed(np.zeros(num_examples, np.uint32))
    rows = join_columns([Fixed(sizes), Fixed(checks), *columns, later], num_examples)
    starts = rows.starts[:-1] + _HEADER_BYTES
    checks = crc32c.mask(crc32c.of_ranges(rows.data, starts, starts + lengths))
    Fixed(checks).fill(rows.data, rows.column_starts[-1])
    return rows


def _columns(features: Mapping[str, Feature]) -> tuple[list[Column], np.ndarray]:
    """The columns of the examples, and `[num_examples]` bytes of each."""
    columns, total = [], 0
    for name, feature in sorted(features.items()):
        key = name.encode()
        size = feature.values.sizes()
        in_list = 1 + varint_sizes(size) + size
        in_feature = 1 + varint_sizes(in_list) + in_list
        in_entry = 2 + len(key) + 1 + varint_sizes(in_feature) + in_feature
        columns += [
            *(Constant(bytes([_BYTES_FIELD])), Varint(in_entry)),
            Constant(bytes([_BYTES_FIELD, len(key)]) + key + bytes([_MAP_VALUE])),
            *(Varint(in_feature), Constant(bytes([feature.tag])), Varint(in_list)),
            *(Constant(bytes([_BYTES_FIELD])), Varint(size), feature.values),
        ]
        total = total + 1 + varint_sizes(in_entry) + in_entry
    head = [Constant(bytes([_BYTES_FIELD])), Varint(total)]
    return [*head, *columns], 1 + varint_sizes(total) + total
