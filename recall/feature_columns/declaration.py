"""The section `features` of the settings: which features a model has, declared once.

Imports no TensorFlow. A feature is a column of the items file, of the users file or of the
log. Training, export, serving and live items take names, kinds and parameters from here.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from recall.errors import InputError
from recall.feature_columns.attributes import (
    CATEGORY_NAMES,
    NAME_PATTERN,
    TAKEN_NAMES,
    ItemAttribute,
)
from recall.plain_values import require_choice, require_setting

TAKEN_PREFIXES = ("history_", "request_")
"""Beginnings of the names of inputs that a user tower has of itself."""

OWNERS = ("item", "user", "event", "request")
OWNERS_OF_LOG = ("event", "request")
"""Those whose features are columns of the log."""

GAP, HOUR, WEEKDAY = "gap", "hour", "weekday"
TIME_PARTS = (GAP, HOUR, WEEKDAY)
"""What a time is as a feature: what has passed since the click before, and when it is."""

_INTEGERS = {
    "max_values": 1,
    "min_count": 1,
    "max_vocabulary": 1,
    "buckets": 2,
    "dim": 1,
    "hash_buckets": 2,
    "max_ngram": 1,
}
"""Parameter -> its least value."""


@dataclasses.dataclass(frozen=True)
class FeatureColumn:
    """One declared feature.

    A parameter that is not given takes the default of the kind (`PARAMETERS`); one that
    belongs to another kind is refused.
    """

    name: str
    """Letters, digits and `_`: the name in files, signatures, JSON and reports."""
    owner: str
    """`item` or `user`, whose file has the column; `event`, a column of the log that says
    something of a click; `request`, one that is known before the click and that a request
    says of itself."""
    kind: str
    """`categorical`, `numeric`, `vector` or `text`; of events and requests `categorical` (one
    value), `numeric` or `timestamp`."""
    column: str | None = None
    """Column of the file, where it has another name than the feature."""
    max_values: int | None = None
    """categorical, text: values (words and n-grams) of one row that are used, the first ones;
    the file separates several by `|`, or has lists (Parquet)."""
    min_count: int | None = None
    """categorical: a value on fewer rows is out of the vocabulary; 2 as nothing can be learnt
    of a value that only one item has."""
    max_vocabulary: int | None = None
    """categorical: the most frequent values so many at most; the rest is out of it."""
    buckets: int | None = None
    """numeric: quantile buckets, learnt like categories. 0: the normalised number itself."""
    scale: str | None = None
    """numeric without buckets: `linear`, or `log` (of 1 + value) for prices and counts."""
    dim: int | None = None
    """vector: numbers of every vector."""
    hash_buckets: int | None = None
    """text: rows of the table that hashed words share."""
    max_ngram: int | None = None
    """text: words of the longest n-gram; 1 takes single words."""
    parts: tuple[str, ...] | None = None
    """timestamp: `gap` (since the click before), `hour` and `weekday` (UTC); all of them."""

    PARAMETERS: typing.ClassVar[dict[str, dict[str, Any]]] = {
        "categorical": {"max_values": 1, "min_count": 2, "max_vocabulary": 100_000},
        "numeric": {"buckets": 0, "scale": "linear"},
        "vector": {"dim": None},
        "text": {"max_values": 16, "hash_buckets": 20_000, "max_ngram": 2},
        "timestamp": {"parts": TIME_PARTS},
    }
    """Kind -> its parameters with their defaults; None has to be given."""
    SCALES: typing.ClassVar = ("linear", "log")
    KINDS_OF_LOG: typing.ClassVar = ("categorical", "numeric", "timestamp")

    def __post_init__(self):
        key = f"features.columns[{self.name}]"
        require_setting(
            bool(NAME_PATTERN.fullmatch(self.name)),
            "features.columns.name",
            self.name,
            "letters, digits and _, a letter first, at most 63 of them",
        )
        is_taken = self.name in TAKEN_NAMES or self.name.startswith(TAKEN_PREFIXES)
        require_setting(not is_taken, key, self.name, "another name, it is taken")
        require_choice(f"{key}.owner", self.owner, OWNERS)
        kinds = tuple(kind for kind in self.PARAMETERS if kind != "timestamp")
        require_choice(f"{key}.kind", self.kind, self.KINDS_OF_LOG if self.is_of_log else kinds)
        own = self.PARAMETERS[self.kind]
        others = {name for parameters in self.PARAMETERS.values() for name in parameters} - {*own}
        for name in sorted(others):
            wanted = f"left out: it is no parameter of kind {self.kind} ({', '.join(own)})"
            require_setting(
                getattr(self, name) is None, f"{key}.{name}", getattr(self, name), wanted
            )
        for name, default in own.items():
            if getattr(self, name) is None:
                require_setting(default is not None, f"{key}.{name}", None, "given")
                object.__setattr__(self, name, default)
        self._check_parameters(key, own)

    def _check_parameters(self, key: str, own: Mapping[str, Any]) -> None:
        """Ranges of the parameters that the kind has."""
        require_setting(self.column != "", f"{key}.column", self.column, "a name, or left out")
        for name in [name for name in own if name in _INTEGERS]:
            value, least = getattr(self, name), _INTEGERS[name]
            fits = value >= least or (name == "buckets" and value == 0)
            require_setting(fits, f"{key}.{name}", value, f"{least} or more")
        if self.kind == "numeric":
            require_choice(f"{key}.scale", self.scale, self.SCALES)
        if self.is_of_log:
            wanted = f"1 or left out: a feature of owner {self.owner} has one value"
            require_setting(
                self.max_values in (None, 1), f"{key}.max_values", self.max_values, wanted
            )
        if self.kind == "timestamp":
            wanted = "left out: the times are those of the log"
            require_setting(self.column is None, f"{key}.column", self.column, wanted)
            known = set(self.parts) <= {*TIME_PARTS} and len({*self.parts}) == len(self.parts)
            wanted = f"some of {', '.join(TIME_PARTS)}, each once"
            require_setting(known and self.parts != (), f"{key}.parts", self.parts, wanted)

    @property
    def is_of_log(self) -> bool:
        """Whether the values are in the log."""
        return self.owner in OWNERS_OF_LOG

    @property
    def input_name(self) -> str:
        """Of the input of a tower: values of clicks stand beside `history_item_ids`."""
        return f"history_{self.name}" if self.owner == "event" else self.name

    @property
    def source(self) -> str:
        """Name of the column in the file."""
        return self.column or self.name

    @property
    def has_several_values(self) -> bool:
        """Whether a row may have more than one category."""
        return self.kind == "categorical" and self.max_values > 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values without what the kind does not have."""
        return {name: v for name, v in dataclasses.asdict(self).items() if v is not None}


CATEGORY_FEATURE = FeatureColumn(CATEGORY_NAMES, "item", "categorical", max_values=8)
"""What `model.use_categories` stands for."""


@dataclasses.dataclass(frozen=True)
class FeaturesConfig:
    """Declared features, and how the towers take them in."""

    columns: tuple[FeatureColumn, ...] = ()
    """The features; `recall features` proposes them from the files."""
    attributes: tuple[ItemAttribute, ...] = ()
    """Columns of the items file that no model looks at, kept with the release so that
    requests can filter on them; features of items that are names or numbers need not be here."""
    id_shrinkage: float = 5.0
    """Training clicks at which the id embedding of an item counts half: with n of them it counts
    n / (n + this), so that rare items are what their features say, and one that nobody clicked
    is that alone (measured). 0: it counts whole from the first click on."""
    id_dropout: float = 0.0
    """Share of the items of a step that have to do without their id embedding, so that features
    say more of items with many clicks too; only where items have features."""
    embedding_dim: int = 32
    """Width of the embedding of a value of users, clicks and requests; a quarter of `model.dim`,
    because a small network above joins all features of one of these. Hashed words of items are as
    wide; other values of items have `model.dim`: an item is their sum."""
    hidden_dim: int = 128
    """Inner width of that network."""
    max_unknown_share: float = 0.05
    """Share of values outside of the vocabulary above which training and serving warn."""

    def __post_init__(self):
        names = [column.name for column in (*self.columns, *self.attributes)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError(
                f"Config key `features.columns` has the name {repeated[0]!r} twice. Names are "
                "those of inputs: give each feature its own, and `column` where the file's differs."
            )
        for name in ("embedding_dim", "hidden_dim"):
            require_setting(
                getattr(self, name) >= 1, f"features.{name}", getattr(self, name), ">= 1"
            )
        require_setting(
            0 <= self.id_dropout < 1, "features.id_dropout", self.id_dropout, "in [0, 1)"
        )
        fits = math.isfinite(self.id_shrinkage) and self.id_shrinkage >= 0
        require_setting(fits, "features.id_shrinkage", self.id_shrinkage, ">= 0")
        share = self.max_unknown_share
        fits = math.isfinite(share) and 0 <= share <= 1
        require_setting(fits, "features.max_unknown_share", share, "in [0, 1]")

    def of(self, *owners: str) -> tuple[FeatureColumn, ...]:
        """The features of these owners, in the order of their declaration."""
        return tuple(column for column in self.columns if column.owner in owners)

    def with_categories(self) -> "FeaturesConfig":
        """The same with the categories of items as one of them, where they are not yet."""
        if any(column.source == CATEGORY_NAMES for column in self.of("item")):
            return self
        return dataclasses.replace(self, columns=(*self.columns, CATEGORY_FEATURE))

    def without_categories(self) -> "FeaturesConfig":
        """The same without what `with_categories` adds."""
        kept = tuple(column for column in self.columns if column != CATEGORY_FEATURE)
        return dataclasses.replace(self, columns=kept)

    @property
    def names_items(self) -> bool:
        """Whether a feature of items is categorical, so that a loss can predict its names."""
        return any(column.kind == "categorical" for column in self.of("item"))

    @property
    def of_log(self) -> tuple[FeatureColumn, ...]:
        """The features whose values are in the log."""
        return self.of(*OWNERS_OF_LOG)

    @property
    def need_times(self) -> bool:
        """Whether one of the features is made of times."""
        return any(column.kind == "timestamp" for column in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, columns without what their kind does not have."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        lists = {
            name: [one.to_dict() for one in values[name]] for name in ("columns", "attributes")
        }
        return {**values, **lists}


def attributes_of(
    features: Sequence[FeatureColumn], attributes: Sequence[ItemAttribute]
) -> tuple[ItemAttribute, ...]:
    """All that requests can filter items on, but for the categories.

    Args:
        features: Declared features of items.
        attributes: Declared beside them.
    """
    fitting = [f for f in features if f.kind in ItemAttribute.KINDS and f.name != CATEGORY_NAMES]
    return (*(ItemAttribute(f.name, f.kind, f.column) for f in fitting), *attributes)
