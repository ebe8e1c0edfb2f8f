"""Changes of items, checked against the catalogue they are for. Imports no TensorFlow."""

from collections.abc import Iterable, Sequence

import numpy as np

from recall.errors import InputError
from serving.api.item_changes import ItemUpsert
from serving.index.shards import home_of
from serving.live.catalogue import LiveCatalogue, PlacedChanges
from serving.live.store import ItemChange

_MAX_LENGTH = 1e6
"""Of a vector; scores of longer ones lose their precision in float32."""

MAX_RELATIVE_LENGTH = 10.0
"""Of a given vector: so many times the longest one of the release. Under the inner product
scores grow with the length, so an item of such a vector is first for half of all users
whatever they like; the longest trained vectors have twice the median length."""


def from_upsert(item: ItemUpsert, asked: LiveCatalogue) -> ItemChange:
    """A checked upsert as it is stored; its vector belongs to the version that is asked.

    Raises:
        InputError: The vector, or a feature, does not fit the model.
    """
    if item.features:
        asked.check_features(item.item_id, item.features)
    change = ItemChange(
        item.item_id,
        categories=tuple(dict.fromkeys(item.categories)) or None,
        title=item.title or None,
        features=dict(item.features) if item.features else None,
    )
    if item.vector is None:
        return change
    return change._replace(vector=_check_vector(item, asked), fingerprint=asked.fingerprint)


def check_home(item_ids: Iterable[str], catalogue: LiveCatalogue) -> None:
    """Refuses changes of items that live in another shard.

    Raises:
        InputError: One does.
    """
    shard = catalogue.shard
    for item_id in item_ids if shard is not None else ():
        if not shard.holds(item_id.encode()):
            home = home_of(item_id.encode(), shard.count)
            raise InputError(
                f"Item {item_id!r} belongs to shard {home}/{shard.count}, this server holds "
                f"{shard.number}/{shard.count}. Send it to the service in front of the shards."
            )


def check_placed(
    changes: Sequence[ItemChange], placed: PlacedChanges, catalogue: LiveCatalogue
) -> None:
    """Refuses upserts that a loaded version could not serve.

    Vectors given for another version are let through: the version that was
    asked serves the item, and this one when somebody gives another vector.

    Raises:
        InputError: An item has neither a vector, nor a trained one, nor a
            value that the item tower knows.
    """
    waiting = set(placed.waiting)
    for change in changes:
        if change.item_id.encode() not in waiting or change.vector is not None:
            continue
        if not catalogue.has_embedder:
            raise InputError(
                f"No vector for the new item {change.item_id!r}: the model knows no features of "
                "items. Give a vector, or train with model.use_categories or features.columns."
            )
        raise InputError(
            f"No vector for the new item {change.item_id!r}: the model knows none of its "
            f"values. It declares the features {', '.join(catalogue.features)}. Give known "
            "values of some of them, or a vector."
        )


def _check_vector(item: ItemUpsert, asked: LiveCatalogue) -> np.ndarray:
    """The vector as the index holds them."""
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(item.vector, dtype=np.float32)
    except OverflowError as error:  # An integer of hundreds of digits.
        raise InputError(f"The vector of item {item.item_id!r} is not finite.") from error
    if vector.shape != (asked.dim,):
        raise InputError(
            f"The vector of item {item.item_id!r} has the shape {list(vector.shape)}, "
            f"the model's have [{asked.dim}]."
        )
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not length <= _MAX_LENGTH:  # NaN is not.
        raise InputError(f"The vector of item {item.item_id!r} is not finite, or too long.")
    if asked.similarity != "cosine":
        if length > MAX_RELATIVE_LENGTH * asked.longest > 0:
            raise InputError(
                f"The vector of item {item.item_id!r} has the length {length:.4g}, more than "
                f"{MAX_RELATIVE_LENGTH:g} times that of the longest one of the release, "
                f"{asked.longest:.4g}. Scale it down, or leave it out: the item then keeps its "
                "trained vector, or gets that of its categories."
            )
        return vector
    if length == 0:
        raise InputError(f"The vector of item {item.item_id!r} is zero and has no direction.")
    return (vector / length).astype(np.float32)
