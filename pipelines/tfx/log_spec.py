"""What a component must know to read a log or an items file: plain values, as JSON.

A component may run in another process than the one that described the pipeline,
so it gets texts. Imports no TensorFlow and no TFX.
"""

import dataclasses
import json
from typing import Any, NamedTuple

from pipelines.ingestion.open_log import open_events
from pipelines.sources.columns.read_options import DEFAULT_OPTIONS, ReadOptions
from pipelines.sources.columns.where import Condition
from pipelines.sources.events import DEFAULT_COLUMNS, EventColumns, EventSource
from pipelines.sources.items import ItemColumns, ItemsFile
from pipelines.sources.tables.text_format import DEFAULT_TEXT, TextOptions
from recall.config import RecallConfig
from recall.errors import InputError


class LogSpec(NamedTuple):
    """A log and how it is read: the arguments of `open_events`.

    Attributes:
        spec: A file, folder or pattern, or a source's name and settings.
        columns: Names of the columns.
        data_dir: Where prepared TFDS datasets lie.
        options: How values are understood.
        text: How text files are written.
        where: Conditions that a row must meet.
        name: What people call the log; "" is the spec.
    """

    spec: str
    columns: EventColumns = DEFAULT_COLUMNS
    data_dir: str | None = None
    options: ReadOptions = DEFAULT_OPTIONS
    text: TextOptions = DEFAULT_TEXT
    where: tuple[Condition, ...] = ()
    name: str = ""

    def open(self) -> EventSource:
        """The log, opened.

        Raises:
            InputError: There is no such log, or it lacks a column.
        """
        return open_events(self.spec, **{k: v for k, v in self._asdict().items() if k != "spec"})

    def check(self, config: RecallConfig) -> None:
        """Refuses what the events of a pipeline do not hold, before it is left out in silence.

        Args:
            config: Settings of the pipeline.

        Raises:
            InputError: Kinds or weights of events are to be read, or features of users, of
                events or of requests.
        """
        read = {"--event_type_column": self.columns.event_type}
        read["--weight_column"] = self.columns.weight
        found = [f"{flag}={column}" for flag, column in read.items() if column]
        features = config.features.of("user", "event", "request")
        found += [f"the feature {one.name!r} of owner {one.owner}" for one in features]
        if found:
            raise InputError(
                "The events of a TFX pipeline are users, items and times alone: they lack "
                f"{found[0]}. Use `recall run`, or leave it out."
            )

    def to_json(self) -> str:
        """The values as text.

        >>> LogSpec.from_json(LogSpec("log.csv").to_json()) == LogSpec("log.csv")
        True
        """
        return json.dumps(self._replace(options=dataclasses.asdict(self.options))._asdict())

    @classmethod
    def from_json(cls, text: str) -> "LogSpec":
        """The values that `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        return cls(
            values["spec"],
            EventColumns(*values["columns"]),
            values["data_dir"],
            ReadOptions(**values["options"]),
            _text_options(values["text"]),
            tuple(Condition(name, tuple(v), equal) for name, v, equal in values["where"]),
            values["name"],
        )


def items_to_json(items_file: ItemsFile | None) -> str:
    """An items file as text, "" where there is none."""
    return "" if items_file is None else json.dumps(items_file)


def items_from_json(text: str) -> ItemsFile | None:
    """The items file that `items_to_json` wrote.

    >>> items_from_json(items_to_json(ItemsFile("items.csv"))) == ItemsFile("items.csv")
    True
    """
    if not text:
        return None
    path, columns, options = json.loads(text)
    return ItemsFile(path, ItemColumns(*columns), _text_options(options))


def _text_options(values: list[Any]) -> TextOptions:
    names, *rest = values
    return TextOptions(tuple(names), *rest)
