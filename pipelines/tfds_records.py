"""Examples of a prepared TFDS dataset in batches of arrays, in the order on disk.

TFDS decodes one example at a time, some .05 ms each, and offers ArrayRecord files
to Python only; here whole batches of records are parsed, whatever file they are in.
Datasets in other files, or with features that are not one value each, go through
TFDS altogether.

TensorFlow is imported when examples are read, not with this module.
"""

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from recall.errors import InputError

_BATCH_ROWS = 1 << 14
"""Examples parsed at a time; larger batches are no faster."""

_PARQUET_COLUMN = "data"
"""TFDS keeps whole examples, serialized, in this one column of a Parquet file."""


def read_examples(
    builder: Any, split: str, names: Sequence[str]
) -> Iterator[dict[str, np.ndarray]]:
    """Streams the features `names` of a split.

    Args:
        builder: TFDS builder of the dataset.
        split: Split or sum of splits in TFDS's notation.
        names: Features, each one value per example.

    Yields:
        Name -> `[n]` array of the values that TFDS gives; texts are bytes objects.

    Raises:
        InputError: A file is damaged, missing or too short, or its format needs
            a package that is not installed.
    """
    import tensorflow as tf

    read = _find_reader(builder, names)
    if read is None:
        dataset = open_dataset(builder, split, names).batch(_BATCH_ROWS)
        yield from dataset.as_numpy_iterator()
        return
    parse = _build_parser(builder.info.features, names)
    for file in builder.info.splits[split].file_instructions:
        path, num_found = os.fspath(file.filename), 0
        try:
            for records in read(path, file.skip, file.skip + file.take):
                num_found += len(records)
                yield parse(records)
        # TensorFlow, ArrayRecord, pyarrow and numpy, in this order.
        except (tf.errors.OpError, RuntimeError, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise InputError(
                f"{path} cannot be read ({reason}). Prepare the dataset again."
            ) from error
        # A file may end early and be whole: TFDS 4.9 writes Parquet files that lack examples.
        if num_found != file.take:
            raise InputError(
                f"{path} has {num_found} of the {file.take} examples that the dataset says are "
                "there. Prepare the dataset again, for example with "
                "`tfds build --file_format=array_record`."
            )


def check_split(builder: Any, split: str, names: Sequence[str]) -> None:
    """Checks that `read_examples` would find examples.

    Raises:
        AssertionError: The dataset is not prepared.
        InputError: The split selects no example.
        ValueError: There is no such split, or it is not written as TFDS wants it.
    """
    if _find_reader(builder, names) is None:
        open_dataset(builder, split, names)
    elif not builder.info.splits[split].file_instructions:
        raise InputError(f"The split {split!r} selects no example. Name a larger part.")


def open_dataset(builder: Any, split: str, names: Sequence[str]) -> Any:
    """TFDS's own `tf.data.Dataset` of the features `names`, without reading yet."""
    import tensorflow_datasets as tfds

    return builder.as_dataset(
        split=split,
        decoders=tfds.decode.PartialDecoding(dict.fromkeys(names, True)),
        # One file after the other: the order of the examples breaks ties.
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
        shuffle_files=False,
    )


def _find_reader(
    builder: Any, names: Sequence[str]
) -> Callable[[str, int, int], Iterator[Any]] | None:
    """The reader of the dataset's files; None where TFDS must read them."""
    import tensorflow as tf

    spec = builder.info.features.tf_example_spec
    if not all(isinstance(spec[name], tf.io.FixedLenFeature) for name in names):
        return None  # Not one value per example.
    return _READERS.get(builder.info.file_format.value) if builder.is_prepared() else None


def _build_parser(features: Any, names: Sequence[str]) -> Callable[[Any], dict[str, np.ndarray]]:
    """Batches of serialized examples -> arrays of the features `names`."""
    import tensorflow as tf

    spec = {name: features.tf_example_spec[name] for name in names}
    packed = {name: encoding for name in names if (encoding := _encoding_of(features[name]))}

    # One signature: the last batch of a file is smaller, and would be traced again.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(records: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(records, spec)
        for name in spec.keys() - packed.keys():
            # As in TFDS: a number is kept in the widest type of its kind.
            values = tf.cast(parsed[name], features[name].get_serialized_info().tf_dtype)
            parsed[name] = features[name].decode_batch_example(values)
        return parsed

    def parse(records: Any) -> dict[str, np.ndarray]:
        arrays = {name: values.numpy() for name, values in decode(records).items()}
        for name, encoding in packed.items():
            arrays[name] = _unpack(arrays[name], encoding, features[name].np_dtype)
        return arrays

    return parse


def _encoding_of(feature: Any) -> str | None:
    """`bytes` or `zlib` where numbers are kept as their bytes, None where they are not."""
    encoding = getattr(feature.to_json_content(), "encoding", "none")
    return None if encoding in ("", "none") else encoding


def _unpack(values: np.ndarray, encoding: str, dtype: np.dtype) -> np.ndarray:
    """Numbers from the bytes of each; TFDS would take .1 ms for one.

    Raises:
        ValueError: They are not the bytes of one number each.
    """
    parts = [zlib.decompress(value) for value in values] if encoding == "zlib" else values
    numbers = np.frombuffer(b"".join(parts), dtype)
    if len(numbers) != len(values):
        raise ValueError(f"a value is not of the {dtype.itemsize} bytes of a {dtype}")
    return numbers


def _read_tfrecords(path: str, first: int, end: int) -> Iterator[Any]:
    import tensorflow as tf

    records = tf.data.TFRecordDataset(path).skip(first).take(end - first)
    yield from records.batch(_BATCH_ROWS).prefetch(1)


def _read_array_records(path: str, first: int, end: int) -> Iterator[list[bytes]]:
    try:
        from array_record.python.array_record_module import ArrayRecordReader
    except ImportError as error:
        raise InputError(
            f"{path} needs the package `array_record` ({error}). Install it with "
            "`pip install array_record`."
        ) from error
    reader = ArrayRecordReader(path)
    try:
        for start in range(first, end, _BATCH_ROWS):
            yield reader.read(start, min(start + _BATCH_ROWS, end))
    finally:
        reader.close()


def _read_parquet(path: str, first: int, end: int) -> Iterator[np.ndarray]:
    import pyarrow.parquet as pq

    start = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=[_PARQUET_COLUMN]):
            records = batch.column(0)[max(first - start, 0) : max(end - start, 0)]
            start += batch.num_rows
            if len(records):
                yield records.to_numpy(zero_copy_only=False)


_READERS: dict[str, Callable[[str, int, int], Iterator[Any]]] = {
    "tfrecord": _read_tfrecords,
    "array_record": _read_array_records,
    "parquet": _read_parquet,
}
"""By TFDS's name of a file format: path, first record, end -> batches of serialized examples."""
