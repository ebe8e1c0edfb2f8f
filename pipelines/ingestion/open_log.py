"""The door to interaction logs: a spec in, a stream of Arrow record batches out.

Imports no TensorFlow; the TFDS reader does when a TFDS dataset is opened.
"""

from collections.abc import Sequence

from pipelines.sources.columns.read_options import DEFAULT_OPTIONS, ReadOptions
from pipelines.sources.columns.where import Condition
from pipelines.sources.events import DEFAULT_COLUMNS, EventColumns, EventSource
from pipelines.sources.file_source import FileSource
from pipelines.sources.tables import text_format
from pipelines.sources.tables.text_format import DEFAULT_TEXT, TextOptions
from recall.errors import InputError

_SOURCES = ("tfds:", "mind:", "synthetic:")


def open_events(
    spec: str,
    columns: EventColumns = DEFAULT_COLUMNS,
    *,
    data_dir: str | None = None,
    options: ReadOptions = DEFAULT_OPTIONS,
    text: TextOptions = DEFAULT_TEXT,
    where: Sequence[Condition] = (),
    name: str = "",
) -> EventSource:
    """Opens a log without reading its rows.

    Args:
        spec: What to read:
            a file, folder or pattern of text files (`.csv`, `.tsv`, `.txt`,
            `.dat`, `.inter` ..., also compressed) or Parquet;
            `mind:` and a behaviors.tsv of the MIND data, of which `columns.event_type`,
            whatever its value, adds what was shown and not clicked;
            `tfds:name[/config][:version][:split]`, a dataset prepared by
            TensorFlow Datasets, for example `tfds:movielens/1m-ratings`;
            `synthetic:key=value,...`, a log with planted interests.
        columns: Names of the columns, where they differ from the usual ones.
        data_dir: Where TFDS datasets lie; None means TFDS's own default.
        options: How the values of the columns are understood.
        text: How text files are written, where it cannot be found out.
        where: Conditions that a row must meet to be an event.
        name: What people call the log; "" is the spec.

    Raises:
        InputError: There is no such log, or it lacks a column.
    """
    if not spec:
        raise InputError("No log is named. Give a file, tfds:<name> or synthetic:<settings>.")
    if spec.startswith(_SOURCES):
        text_format.refuse(text, f"{spec} is none")
    source = _open(spec, columns, data_dir, text, where)
    source.options = options
    source.name = name or spec
    return source


def _open(
    spec: str,
    columns: EventColumns,
    data_dir: str | None,
    text: TextOptions,
    where: Sequence[Condition],
) -> EventSource:
    if spec.startswith("tfds:"):
        from pipelines.sources.tfds_source import TfdsSource

        return TfdsSource(spec, columns, data_dir, where)
    if spec.startswith("mind:"):
        from pipelines.sources.mind_source import MindSource

        return MindSource(spec, where, with_kinds=bool(columns.event_type))
    if spec.partition(":")[0] == "synthetic":
        if columns.optional_fields.names:
            raise InputError(
                f"{spec} has no column {columns.event_type or columns.weight!r}: all events of a "
                "generated log are alike."
            )
        from pipelines.synthetic.source import SyntheticSource

        source = SyntheticSource(spec, where)
        if not columns.has_time:
            source.columns = source.columns._replace(timestamp=columns.timestamp)
        return source
    return FileSource(spec, columns, text, where)
