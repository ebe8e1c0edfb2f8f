"""What callers may say about items, and what is answered.

Imports neither TensorFlow nor NumPy.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from recall.errors import InputError
from recall.item_ids import check_item_ids, is_unicode
from serving.api.request_fields import Kind, read_value, specs_of
from serving.protocol.json_document import in_one_line

if TYPE_CHECKING:
    import numpy as np

ITEMS_MODEL = "items"
"""Name under which live items are a model of the Predict API."""

MAX_CHANGES = 1000
"""Items of one call: with 64 numbers each, 256 kB and some 10 ms of work."""

MAX_ID_LENGTH = 1024
"""Bytes; as in a recall request."""

MAX_CATEGORIES = 100
"""Categories of one item, or other names of one list; the largest public catalogues have
some ten categories."""

MAX_FEATURE_VALUES = 4096
"""Texts or numbers of one feature; the longest public content embeddings have 4,096 numbers."""

MAX_TEXT_LENGTH = 4096
"""Characters of a title or a category name."""

UNKNOWN_COUNT = -1
"""In the place of a number of items that nobody has counted."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemField:
    """One field of an item, for all doors and the items file.

    Attributes:
        kind: What its values are: `TEXT`, `TEXTS` or `NUMBERS`.
        name: Of the field, and of its column in the table of an items file.
        default: What says nothing about it.
        json_key: Its JSON key; "" is the name.
        input_name: Its tensor; "" is the name.
        text: What one of its texts is, for errors.
        in_items_file: Whether an items file may have it: as a column of texts; of
            lists only the categories, of numbers none.
    """

    kind: Kind
    name: str = ""
    default: Any = None
    json_key: str = ""
    input_name: str = ""
    text: str = ""
    in_items_file: bool = True

    @property
    def key(self) -> str:
        """Its JSON key."""
        return self.json_key or self.name


def declare_field(default: Any, kind: Kind, **spec: Any) -> Any:
    """A field of `ItemUpsert`; see `ItemField`."""
    declared = ItemField(kind=kind, default=default, **spec)
    return dataclasses.field(default=default, metadata={"spec": declared})


@dataclasses.dataclass(frozen=True)
class ItemUpsert:
    """An item to have from now on.

    Here alone is said how a field is sent; see `ItemField`.

    Attributes:
        item_id: Raw id.
        categories: Category names; () keeps those the release knows. There is
            no way to take them away: tensors padded with "" could not say so,
            and every door means the same.
        title: "" keeps the one the release knows.
        vector: `[dim]` numbers in the embedding space of the version that is
            asked; scaled to unit length where the model compares by cosine.
            None takes that of given features, else the trained one, else that of the categories.
        features: Name of a feature that the model declares -> its value: a text, a number, or
            a list of either. The item tower makes the vector of them, and of the id where
            that is known; what is left out is as the model knows it. None says nothing.
    """

    item_id: str = declare_field(
        dataclasses.MISSING, Kind.TEXT, json_key="id", input_name="item_ids"
    )
    categories: tuple[str, ...] = declare_field((), Kind.TEXTS, text="category")
    title: str = declare_field("", Kind.TEXT, input_name="titles")
    vector: "Sequence[float] | np.ndarray | None" = declare_field(
        None, Kind.NUMBERS, input_name="vectors", in_items_file=False
    )
    features: Mapping[str, Any] | None = declare_field(None, Kind.VALUES, in_items_file=False)


ITEM_FIELDS: tuple[ItemField, ...] = specs_of(ItemUpsert)
"""What is declared of every field of an item; the first is the id."""

_LISTS = tuple(field for field in ITEM_FIELDS if field.kind is Kind.TEXTS)
_TEXTS = tuple(field.name for field in ITEM_FIELDS[1:] if field.kind is Kind.TEXT)


class Acknowledgement(NamedTuple):
    """Said after a change is on the disk and in every view taken from now on.

    Attributes:
        sequence: Number of the change, higher than all before.
        num_items: Items of the version that was asked, now; in front of
            shards that had not all something to change, `UNKNOWN_COUNT`.
        num_changed: Distinct items that were upserted, or deletions of items
            that the version had.
    """

    sequence: int
    num_items: int
    num_changed: int


class ItemChanger(Protocol):
    """Makes changes of items; may be used from several threads."""

    def upsert(self, items: Sequence[ItemUpsert], *, version: int | None = None) -> Acknowledgement:
        """Adds items, or replaces what is known of them.

        Args:
            items: See `ItemUpsert`.
            version: The version that is asked; None for the newest.

        Raises:
            InputError: An item is not valid, or no vector can be had for it.
            ServingError: The change cannot be made.
        """

    def delete(self, item_ids: Sequence[str], *, version: int | None = None) -> Acknowledgement:
        """Takes items out of every answer; arguments and errors are those of `upsert`."""

    def status(self) -> dict[str, Any]:
        """What changed so far, as plain values."""


def read_upserts(items: Any) -> list[ItemUpsert]:
    """Items as a program gives them, each field of its kind.

    Raises:
        InputError: They are no list of `ItemUpsert`, or a field is of another kind.
    """
    if not isinstance(items, Iterable) or isinstance(items, str | bytes):
        raise InputError(f"`items` must be a list of ItemUpsert, received {in_one_line(items)}.")
    return [_read_item(item) for item in items]


def _read_item(item: Any) -> ItemUpsert:
    if not isinstance(item, ItemUpsert):
        raise InputError(
            f"`items` must be a list of ItemUpsert, received {in_one_line(item)} among them."
        )
    values = {field.name: getattr(item, field.name) for field in ITEM_FIELDS}
    return ItemUpsert(
        **{
            field.name: read_value(field.name, field.kind, values[field.name])
            for field in ITEM_FIELDS
            if values[field.name] is not None or field.default is not None
        }
    )


def check_ids(item_ids: Sequence[str]) -> None:
    """Refuses ids that cannot be those of items.

    Raises:
        InputError: There are none or too many, or one is not valid.
    """
    if not 1 <= len(item_ids) <= MAX_CHANGES:
        raise InputError(f"One call changes 1 to {MAX_CHANGES} items, received {len(item_ids)}.")
    check_item_ids(item_ids)
    for item_id in item_ids:
        length = len(item_id.encode())
        if not 1 <= length <= MAX_ID_LENGTH:
            raise InputError(f"An item id has 1 to {MAX_ID_LENGTH} bytes, received {length}.")


def check_upserts(items: Sequence[ItemUpsert]) -> None:
    """Refuses items that are not valid whatever the model is.

    Raises:
        InputError: An id, a category or a title is too long, or an id or a
            category is empty, or a vector holds no number.
    """
    check_ids([item.item_id for item in items])
    for item in items:
        texts: list[str] = []
        for field in _LISTS:
            values = getattr(item, field.name)
            if len(values) > MAX_CATEGORIES:
                raise InputError(
                    f"Item {item.item_id!r} has {len(values)} {field.name}; "
                    f"at most {MAX_CATEGORIES} are taken."
                )
            texts += values
        _check_texts(item.item_id, [*texts, *(getattr(item, name) for name in _TEXTS)])
        for field in _LISTS:
            if "" in getattr(item, field.name):
                raise InputError(f"Item {item.item_id!r} has an empty {field.text}. Leave it out.")
        if item.features is not None:
            _check_features(item.item_id, item.features)
        # NaN alone is unequal to itself; a row of NaN says nothing in a Predict request.
        if item.vector is not None and all(number != number for number in item.vector):
            raise InputError(f"The vector of item {item.item_id!r} has no number. Leave it out.")


def _check_features(item_id: str, features: Mapping[str, Any]) -> None:
    if len(features) > MAX_CATEGORIES:
        raise InputError(
            f"Item {item_id!r} has {len(features)} features; at most {MAX_CATEGORIES} are taken."
        )
    for name, value in features.items():
        values = value if isinstance(value, list | tuple) else [value]
        if len(values) > MAX_FEATURE_VALUES:
            raise InputError(
                f"The feature {name!r} of item {item_id!r} has {len(values)} values; at most "
                f"{MAX_FEATURE_VALUES} are taken."
            )
        _check_texts(item_id, [name, *(one for one in values if isinstance(one, str))])


def _check_texts(item_id: str, texts: Sequence[str]) -> None:
    for text in texts:
        if not is_unicode(text):
            raise InputError(f"A text of item {item_id!r} is not valid Unicode.")
        if len(text) > MAX_TEXT_LENGTH:
            raise InputError(
                f"A text of item {item_id!r} has {len(text)} characters; "
                f"at most {MAX_TEXT_LENGTH} are taken."
            )
