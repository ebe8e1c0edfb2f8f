"""A dataset of TensorFlow Datasets as a source of events.

TensorFlow is imported when a source is made, not with this module.
"""

import contextlib
import hashlib
import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from absl import logging

from pipelines.sources import tfds_records
from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.where import Condition
from pipelines.sources.events import DEFAULT_COLUMNS, EventColumns, EventSource, RawBatch
from recall.errors import InputError
from serving.release import paths, storage

_SPEC = re.compile(
    r"tfds:(?P<name>\w[\w/.+-]*)(?::(?P<version>\d+\.\d+\.\d+|\*))?(?::(?P<split>[^:].*))?"
)

_USUAL_ITEM_FEATURES = ("item_id", "movie_id", "product_id")
"""Looked for, in this order, when no item column is named."""


class DatasetName(NamedTuple):
    """The parts of `tfds:name[/config][:version][:split]`.

    Attributes:
        name: Name, with the config and the version as TFDS writes them.
        split: Split or sum of splits in TFDS's notation, None for all.
    """

    name: str
    split: str | None

    @classmethod
    def parse(cls, spec: str) -> "DatasetName":
        """Reads a spec.

        >>> DatasetName.parse("tfds:movielens/1m-ratings:0.1.1:train[:10%]")
        DatasetName(name='movielens/1m-ratings:0.1.1', split='train[:10%]')

        Raises:
            InputError: It has another form.
        """
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise InputError(
                f"{spec!r} names no dataset. Write tfds:name/config or tfds:name/config:split, "
                "for example tfds:movielens/1m-ratings:train."
            )
        name, version = match["name"], match["version"]
        return cls(f"{name}:{version}" if version else name, match["split"])


class TfdsSource(EventSource):
    """Reads a prepared dataset whose examples are events, in the order on disk."""

    def __init__(
        self,
        spec: str,
        columns: EventColumns = DEFAULT_COLUMNS,
        data_dir: str | None = None,
        where: Sequence[Condition] = (),
    ):
        """Looks the dataset up and checks that it can be read.

        Args:
            spec: `tfds:name[/config][:version][:split]`.
            columns: Names of the features.
            data_dir: Where datasets lie; None means TFDS's own default.
            where: Conditions that an example must meet to be an event.

        Raises:
            InputError: TFDS does not know the dataset, it is not prepared, or
                it lacks a feature or the split.
        """
        super().__init__(spec, columns, where)
        self.dataset = DatasetName.parse(spec)
        self.data_dir = data_dir
        with self._opened() as builder:
            features = builder.info.features
            self.columns = self._choose_columns(features)
            self.has_split = self.columns.split in features
            self._warn_of_rounded_times(features)
            self._check_readable(builder)

    def fingerprint(self) -> str:
        """SHA-256 over the dataset's full name, the columns and its files' bytes."""
        with self._opened() as builder:
            parts = [builder.info.full_name, str(self.dataset.split), *self.columns.settings]
            parts += [repr(condition) for condition in self.where]
            for split in sorted(builder.info.splits):
                for file in builder.info.splits[split].filepaths:
                    parts.append(storage.sha256_of_file(Path(file)))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _raw_batches(self, bad_rows: BadRows) -> Iterator[RawBatch]:
        del bad_rows  # Every example has every feature.
        feature_of = self.columns.names_by_field(with_split=self.reads_split)
        conditions = [condition.column for condition in self.where]
        names = sorted({*feature_of.values(), *conditions})
        num_rows = 0
        with self._opened() as builder:
            features = builder.info.features
            for examples in tfds_records.read_examples(builder, self._split_of(builder), names):
                arrays = {name: _to_arrow(examples[name], features[name]) for name in names}
                columns = {field: arrays[name] for field, name in feature_of.items()}
                size = len(columns["user_id"])
                rows = np.arange(num_rows, num_rows + size)
                num_rows += size
                kept = self._find_rows(arrays, self.spec)
                if kept is not None:
                    columns = {field: array.filter(kept) for field, array in columns.items()}
                    rows = rows[kept.to_numpy(zero_copy_only=False)]
                yield RawBatch(columns, rows, self.spec, 0)

    def _warn_of_rounded_times(self, features: Any) -> None:
        """TFDS keeps a plain float64 as float32, minutes off for Unix seconds."""
        if not self.columns.has_time:
            return
        name = self.columns.timestamp
        kept = features.tf_example_spec[name].dtype.as_numpy_dtype
        if kept is np.float32 or features[name].np_dtype in (np.float16, np.float32):
            logging.warning(
                "%s: the feature %r is kept as float32, too coarse for Unix seconds; events may "
                "be out of order.",
                self.spec,
                name,
            )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        """The TFDS builder of the dataset, which finds its files while the block runs."""
        if self.data_dir is None:
            yield self._find_builder(None)
            return
        with paths.without_pattern(self.data_dir) as data_dir:
            yield self._find_builder(str(data_dir))

    def _find_builder(self, data_dir: str | None) -> Any:
        """The TFDS builder of the dataset."""
        tfds = _import_tfds()
        where = "" if self.data_dir is None else f" with the data folder {self.data_dir}"
        try:
            return tfds.builder(self.dataset.name, data_dir=data_dir)
        except (ValueError, AssertionError, ImportError, OSError) as error:
            raise InputError(
                f"TensorFlow Datasets knows no {self.dataset.name!r}{where} "
                f"({_first_line(error)}). Check the name, or prepare the dataset with `tfds build`."
            ) from error

    def _split_of(self, builder: Any) -> str:
        """The split named, or all; `train` where the splits are not known."""
        return self.dataset.split or "+".join(builder.info.splits) or "train"

    def _check_readable(self, builder: Any) -> None:
        split = self._split_of(builder)
        try:
            names = self.columns.names_by_field(with_split=False)
            tfds_records.check_data_set_split(builder, split, list(names.values()))
        except AssertionError as error:
            folder = self.data_dir or builder.data_dir
            raise InputError(
                f"{self.spec} is not prepared in {folder}. Prepare it with "
                f"`tfds build {self.dataset.name}`, or set TFDS_DATA_DIR to where it lies."
            ) from error
        except ImportError as error:
            raise InputError(
                f"{self.spec} is kept in {builder.info.file_format.value} files, for which a "
                f"package is missing ({error}). Install it, or prepare the dataset in another "
                "format, for example `tfds build --file_format=array_record`."
            ) from error
        except InputError as error:
            raise InputError(f"{self.spec}: {error}") from error
        except (ValueError, KeyError) as error:
            known = ", ".join(f"{n} ({s.num_examples})" for n, s in builder.info.splits.items())
            if "incompatible with" in str(error):  # TFDS on parts that reach beyond the split.
                raise InputError(
                    f"{self.spec}: The split {split!r} selects no example, or more than there are "
                    f"({_first_line(error)}); the splits are: {known}. Name a part of them."
                ) from error
            raise InputError(
                f"{self.spec} has no split {split!r} ({_first_line(error)}); its splits are: "
                f"{known}."
            ) from error

    def _choose_columns(self, features: Any) -> EventColumns:
        """The features to read, with the usual item feature where none is named."""
        columns = self.columns
        if columns.item_id == DEFAULT_COLUMNS.item_id:
            found = (name for name in _USUAL_ITEM_FEATURES if name in features)
            columns = columns._replace(item_id=next(found, columns.item_id))
        names_split = columns.split not in ("", DEFAULT_COLUMNS.split)
        wanted = columns.names_by_field(with_split=names_split).values()
        scalars = [name for name in features if features[name].shape == ()]
        for name in (*wanted, *(condition.column for condition in self.where)):
            if name not in scalars:
                raise InputError(
                    f"{self.spec} has no scalar feature {name!r}; its scalar features are: "
                    f"{', '.join(scalars)}. Name the one to read (--user_column, "
                    "--item_column, ...)."
                )
        return columns


def _to_arrow(values: np.ndarray, feature: Any) -> pa.Array:
    """The values of a feature; null where TFDS has put its default for a number not given."""
    info = feature.get_serialized_info()
    if info.optional and np.issubdtype(values.dtype, np.number):
        return pa.array(values, mask=values == info.default_value)
    return pa.array(values)


def _first_line(error: Exception) -> str:
    """What TFDS says, without its list of all datasets."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return line.rsplit('}": ')[-1].rstrip(".: ")


def _import_tfds() -> Any:
    import recall  # noqa: F401  (chooses Keras 2 before TensorFlow is imported)

    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise InputError("tfds: needs the package tensorflow-datasets. Install it.") from error
