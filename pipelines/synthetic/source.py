"""Synthetic logs with planted interests: any size, streamed, the same for a seed.

The world: every item belongs to one latent interest and is, within it, more
or less popular. A user has a few interests and clicks in runs: a run stays in
one of the user's interests, or, at `unrelated_future_rate`, in one that has
nothing to do with the user's past. On top of that single clicks are noise,
drawn from the whole catalogue. A user does not click an item twice. Two settings plant
what a recall model finds hard: one interest that dominates a user's clicks, and users
whose interests are others from the middle of their history on.

With `exposure_skew` an item is clicked in proportion to a known propensity to be
shown, which has nothing to do with what users prefer; the last `unbiased_events`
of a user are free of it. A model that is tested on those is tested on what its
users truly prefer, and not on what they were shown.

Two columns can say something of what comes: `mark` of a click, whether the user turns to
another interest after it, and `place`, of which interests a click is before it is made.

What the last click says about the next one is therefore weak (it may be
noise, the run may end, an item has many successors), while the whole history
tells the user's interests: a model of several interests can beat popularity
and bigram counts, and nothing can beat chance at `noise_rate` 1.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.progress import tasks
from pipelines.sources.columns.bad_rows import BadRows
from pipelines.sources.columns.where import Condition
from pipelines.sources.event_columns import FEATURE_FIELD
from pipelines.sources.events import EVENT_SCHEMA, EventSource, RawBatch
from pipelines.sources.items import CATEGORY_SEPARATOR, ITEM_SCHEMA
from pipelines.synthetic import table_writer
from pipelines.synthetic.config import SyntheticConfig
from pipelines.synthetic.world import MARK, PLACE, PlantedUsers, UserBlock, World, generate_block
from recall.errors import InputError

__all__ = [
    "SyntheticConfig",
    "SyntheticSource",
    "generate_events",
    "generate_items",
    "interest_name",
    "planted_users",
    "write_log",
]

_GENERATOR_VERSION = 1
"""Goes up when the same config makes another log."""

_BLOCK_EVENTS = 1 << 17
"""Events generated at a time: some 50 MB of working memory."""

_WRITING = "write events"
"""The task of `write_log`."""

_NAMES = (
    "skirts",
    "hair accessories",
    "chairs",
    "novels",
    "headphones",
    "running shoes",
    "teas",
    "lamps",
    "board games",
    "backpacks",
    "sunscreens",
    "guitars",
    "cookware",
    "garden tools",
    "watches",
    "puzzles",
    "bicycles",
    "candles",
    "cameras",
    "notebooks",
    "scarves",
    "fishing rods",
    "pet food",
    "yoga mats",
    "sofas",
    "perfumes",
    "keyboards",
    "tents",
    "comics",
    "coffees",
    "drills",
    "vases",
    "boots",
    "toy trains",
    "curtains",
    "dumbbells",
    "telescopes",
    "paints",
    "rugs",
    "spices",
)
"""Names of the first interests, so that a person sees at a glance what fits."""


def generate_events(config: SyntheticConfig) -> Iterator[pa.RecordBatch]:
    """Streams the events of all users, a block of users at a time.

    A user's events are in time order and together. Every block has a seed of
    its own, so that the log does not depend on how it is consumed.

    Yields:
        Record batches of `pipelines.sources.events.EVENT_SCHEMA`, with the columns `mark` and
        `place` behind these where the world has them; timestamps are whole seconds, growing
        within a user.
    """
    item_ids = _item_ids(config)
    num_rows = 0
    for first, block in _generate_blocks(config):
        columns = [
            _number("u", block.users + first + 1),
            item_ids.take(pa.array(block.items)),
            pa.array(block.timestamps_s.astype(np.float64)),
            pa.array(np.arange(num_rows, num_rows + len(block.users))),
        ]
        num_rows += len(block.users)
        tasks.count(_WRITING, len(block.planted.turns))
        batch = pa.RecordBatch.from_arrays(columns, schema=EVENT_SCHEMA)
        for name, values in block.columns.items():
            batch = batch.append_column(name, pa.array(values))
        yield batch


def planted_users(config: SyntheticConfig) -> PlantedUsers:
    """The interests of all users, in their order: row r is user `u<r + 1>`.

    The log says them only through its events; what was learnt can be held against them.
    """
    blocks = [block.planted for _, block in _generate_blocks(config)]
    return PlantedUsers(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _generate_blocks(config: SyntheticConfig) -> Iterator[tuple[int, UserBlock]]:
    """Blocks of users, each with the number of its first user."""
    world = World(config)
    users_per_block = max(1, _BLOCK_EVENTS // math.ceil(config.events_per_user))
    for number, first in enumerate(range(0, config.num_users, users_per_block)):
        rng = np.random.default_rng([config.seed, 1, number])
        num_users = min(users_per_block, config.num_users - first)
        yield first, generate_block(config, world, rng, num_users)


def generate_items(config: SyntheticConfig) -> pa.Table:
    """The items: the interest's name is the category and, with a number, the title.

    Returns:
        Table of `pipelines.sources.items.ITEM_SCHEMA`, `num_items` rows.
    """
    world = World(config)
    names = pa.array([interest_name(i) for i in range(config.num_interests)])
    categories = names.take(pa.array(world.interest_of))
    place = np.empty(config.num_items, np.int64)
    place[world.items] = np.arange(config.num_items)
    ranks = pa.array(place - world.starts[world.interest_of] + 1).cast(pa.string())
    offsets = pa.array(np.arange(config.num_items + 1), pa.int32())
    columns = [
        _item_ids(config),
        pa.ListArray.from_arrays(offsets, categories),
        pc.binary_join_element_wise(categories, ranks, " "),
    ]
    return pa.Table.from_arrays(columns, schema=ITEM_SCHEMA)


def interest_name(interest: int) -> str:
    """Name of an interest: a word for the first ones, then a number."""
    return _NAMES[interest] if interest < len(_NAMES) else f"interest {interest + 1}"


def write_log(config: SyntheticConfig, events_path: str | Path, items_path: str | Path) -> int:
    """Writes the log and its items file, each whole or not at all.

    The names say the format: .csv, .csv.gz or .parquet. The same config writes
    the same bytes.

    Returns:
        The number of events.

    Raises:
        InputError: A path cannot be written to, or its format is unknown.
    """
    with tasks.open_task(_WRITING, total=config.num_users, unit="users", rate="users"):
        num_events = table_writer.write_batches(
            events_path, map(_to_file_columns, generate_events(config))
        )
    write_items_file(generate_items(config), items_path)
    return num_events


def write_items_file(items: pa.Table, path: str | Path) -> None:
    """Writes an items file of what a source says of its items (`EventSource.items`).

    Raises:
        InputError: The path cannot be written to, or its format is unknown.
    """
    category = pc.binary_join(items["categories"], CATEGORY_SEPARATOR)
    table = pa.table({"item_id": items["item_id"], "category": category, "title": items["title"]})
    table_writer.write_batches(path, table.to_batches())


class SyntheticSource(EventSource):
    """A generated log as a source, named by `synthetic:key=value,...`."""

    def __init__(self, spec: str, where: Sequence[Condition] = ()):
        """Reads the settings after the colon (see `SyntheticConfig.from_text`).

        Raises:
            InputError: A setting is unknown or out of range, or `where` names
                a column: a generated log has no more than its events.
        """
        super().__init__(spec)
        if where:
            raise InputError(
                f"{spec} has no column {where[0].column!r} for --where. Leave --where out."
            )
        self.config = SyntheticConfig.from_text(spec.partition(":")[2])

    def fingerprint(self) -> str:
        """SHA-256 over all settings and the version of the generator."""
        return hashlib.sha256(f"{_GENERATOR_VERSION} {self.config.describe()}".encode()).hexdigest()

    def items(self) -> pa.Table:
        """The items of the planted world, with their interests as categories."""
        return generate_items(self.config)

    def _check_features(self) -> None:
        rates = {MARK: self.config.mark_rate, PLACE: self.config.place_rate}
        if not all(rates.get(column.source) for column in self.features):
            super()._check_features()

    def _raw_batches(self, bad_rows: BadRows) -> Iterator[RawBatch]:
        del bad_rows  # There are none.
        for batch in generate_events(self.config):
            columns = {name: batch[name] for name in ("user_id", "item_id", "timestamp")}
            columns |= {FEATURE_FIELD + c.name: batch[c.source] for c in self.features}
            yield RawBatch(columns, batch["row"].to_numpy(), self.spec, 0)


def _to_file_columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns of a log on disk, times as whole seconds."""
    timestamps_s = batch["timestamp"].cast(pa.int64())
    columns = {"user_id": batch["user_id"], "item_id": batch["item_id"], "timestamp": timestamps_s}
    columns |= {name: batch[name] for name in (MARK, PLACE) if name in batch.schema.names}
    return pa.RecordBatch.from_pydict(columns)


def _item_ids(config: SyntheticConfig) -> pa.Array:
    return _number("i", np.arange(1, config.num_items + 1))


def _number(prefix: str, numbers: np.ndarray) -> pa.Array:
    """`[n]` numbers -> `[n]` texts such as u17."""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")
