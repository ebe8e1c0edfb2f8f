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

_Arrays = dict[str, np.ndarray]

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

    from recall.datasets import without_tuning

    read = _find_reader(builder, names)
    if read is None:
        dataset = open_dataset(builder, split, names).batch(_BATCH_ROWS)
        yield from without_tuning(dataset).as_numpy_iterator()
        return
    features = builder.info.features
    decode = _build_decoder(features, names)
    for file in builder.info.splits[split].file_instructions:
        path, num_found = os.fspath(file.filename), 0
        try:
            for kept in read(path, file.skip, file.skip + file.take, decode):
                arrays = {name: _unpack(values, features[name]) for name, values in kept.items()}
                num_found += len(arrays[names[0]])
                yield arrays
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


def check_data_set_split(builder: Any, split: str, names: Sequence[str]) -> None:
    """Checks that `read_examples` would find examples.

    Raises:
        AssertionError: The dataset is not prepared.
        InputError: The split selects no example.
        ValueError: There is no such split, or it is not written as TFDS wants it.
    """
    from tensorflow_datasets.core import splits

    if _find_reader(builder, names) is None:
        open_dataset(builder, split, names)
        return
    # TFDS reads up to the end where a part ends one example before it begins.
    parts = splits.AbstractSplit.from_spec(split).to_absolute(builder.info.splits)
    is_backwards = any(p.to is not None and p.to < (p.from_ or 0) for p in parts)
    if is_backwards or not builder.info.splits[split].file_instructions:
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


def _find_reader(builder: Any, names: Sequence[str]) -> "_Reader | None":
    """The reader of the dataset's files; None where TFDS must read them."""
    import tensorflow as tf

    spec = builder.info.features.tf_example_spec
    if not all(isinstance(spec[name], tf.io.FixedLenFeature) for name in names):
        return None  # Not one value per example.
    return _READERS.get(builder.info.file_format.value) if builder.is_prepared() else None


def _build_decoder(features: Any, names: Sequence[str]) -> Any:
    """A function of TensorFlow: `[n]` serialized examples -> the features `names`."""
    import tensorflow as tf

    spec = {name: features.tf_example_spec[name] for name in names}
    encodings = {name: _encoding_of(features[name]) for name in names}

    # One signature: the last batch of a file is smaller, and would be traced again.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(records: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(records, spec)
        for name, encoding in encodings.items():
            if encoding is None:
                # As in TFDS: a number is kept in the widest type of its kind.
                values = tf.cast(parsed[name], features[name].get_serialized_info().tf_dtype)
                parsed[name] = features[name].decode_batch_example(values)
            elif encoding == "bytes":
                parsed[name] = tf.io.decode_raw(parsed[name], tf.uint8)
        return parsed

    return decode


def _encoding_of(feature: Any) -> str | None:
    """`bytes` or `zlib` where numbers are kept as their bytes, None where they are not."""
    encoding = getattr(feature.to_json_content(), "encoding", "none")
    return None if encoding in ("", "none") else encoding


def _unpack(values: np.ndarray, feature: Any) -> np.ndarray:
    """Numbers from the bytes they are kept as, which TFDS decodes one by one.

    Raises:
        ValueError: They are not the bytes of one number each.
    """
    encoding, dtype = _encoding_of(feature), np.dtype(feature.np_dtype)
    if encoding is None:
        return values
    if encoding == "zlib":
        unpacked = b"".join(zlib.decompress(value) for value in values)
        values = np.frombuffer(unpacked, np.uint8).reshape(len(values), -1)
    if values.shape[1] != dtype.itemsize:
        raise ValueError(f"a value has {values.shape[1]} bytes, a {dtype} {dtype.itemsize}")
    return values.view(dtype)[:, 0]


def _read_tfrecords(path: str, first: int, end: int, decode: Any) -> Iterator[_Arrays]:
    import tensorflow as tf

    from recall.datasets import without_tuning

    records = tf.data.TFRecordDataset(path).skip(first).take(end - first)
    # Decoded while the batch before is in work.
    batches = records.batch(_BATCH_ROWS).map(decode).prefetch(1)
    yield from without_tuning(batches).as_numpy_iterator()


def _read_array_records(path: str, first: int, end: int, decode: Any) -> Iterator[_Arrays]:
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
            yield _to_numpy(decode(reader.read(start, min(start + _BATCH_ROWS, end))))
    finally:
        reader.close()


def _read_parquet(path: str, first: int, end: int, decode: Any) -> Iterator[_Arrays]:
    import pyarrow.parquet as pq

    start = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=[_PARQUET_COLUMN]):
            records = batch.column(0)[max(first - start, 0) : max(end - start, 0)]
            start += batch.num_rows
            if len(records):
                yield _to_numpy(decode(records.to_numpy(zero_copy_only=False)))


def _to_numpy(tensors: Any) -> _Arrays:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


_Reader = Callable[[str, int, int, Any], Iterator[_Arrays]]

_READERS: dict[str, _Reader] = {
    "tfrecord": _read_tfrecords,
    "array_record": _read_array_records,
    "parquet": _read_parquet,
}
"""By TFDS's name of a file format: path, first record, end, decoder -> batches of features."""
