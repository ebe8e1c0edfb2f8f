"""Upserted items -> vectors, by the item tower of a release."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recall.errors import InputError
from recall.feature_columns.attributes import CATEGORY_NAMES
from recall.feature_columns.declaration import CATEGORY_FEATURE, FeatureColumn
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import LARGEST_NUMBER, to_tensor
from serving.live.item_content import EmbeddedItems, ItemContent
from serving.protocol.signatures import NEW_ITEMS_SIGNATURE
from serving.servables.feature_values import FeatureValues
from serving.servables.towers import ServedItemTower

_IDS = "item_ids"
"""Input of the signature for new items."""

_OF_EARLIER = (CATEGORY_FEATURE.to_dict(),)
"""What releases of earlier versions declare that know categories: nothing, but they take them."""

_BATCH = 1024
"""Items per call: 256 kB of vectors at 64 dimensions."""


class FeatureEmbedder:
    """Of a model with declared features; see `ItemEmbedder`."""

    def __init__(
        self,
        item_tower: ServedItemTower,
        manifest: Mapping[str, Any],
        values: FeatureValues | None = None,
    ):
        """Reads what the release declares.

        Args:
            item_tower: Of the release.
            manifest: Of the release's item tower.
            values: Told of the values that upserts give.
        """
        self._values = values
        self._item_tower = item_tower
        declared = [FeatureColumn(**values) for values in manifest.get("features", _OF_EARLIER)]
        # That of a release without a declaration takes nothing but all of its categories.
        self._takes_ids = _IDS in item_tower.signature_defs[NEW_ITEMS_SIGNATURE].inputs
        self._columns = {column.name: FittedColumn(column) for column in declared}
        self.features = tuple(self._columns)

    def check(self, item_id: str, features: Mapping[str, Any]) -> None:
        """See `ItemEmbedder`."""
        _refuse_unknown(item_id, features, self.features)
        for name, value in features.items():
            _to_value(self._columns[name].column, value, item_id)

    def __call__(self, items: Sequence[ItemContent], *, are_new: bool = True) -> EmbeddedItems:
        """See `ItemEmbedder`.

        Items of which the same features are given go together: of the others the tower
        takes what it knows.
        """
        given = [self._given(item) for item in items]
        groups: dict[tuple[str, ...], list[int]] = {}
        for at, values in enumerate(given):
            groups.setdefault(tuple(sorted(values)), []).append(at)
        parts, order = [], []
        for names, rows in groups.items():
            for start in range(0, len(rows), _BATCH):
                part = rows[start : start + _BATCH]
                inputs = {
                    name: to_tensor(self._columns[name], [given[at][name] for at in part])
                    for name in names
                }
                if self._takes_ids:
                    inputs[_IDS] = np.array([items[at].item_id.encode() for at in part], object)
                parts.append(self._item_tower.predict(NEW_ITEMS_SIGNATURE, inputs))
                if self._values is not None:
                    self._values.count(parts[-1], are_new=are_new)
                order += part
        back = np.argsort(order)
        joined = _join(parts)
        return joined._replace(
            vectors=joined.vectors[back],
            num_known=joined.num_known[back],
            num_unknown=None if joined.num_unknown is None else joined.num_unknown[back],
        )

    def _given(self, item: ItemContent) -> dict[str, Any]:
        """Name -> value of what is said of an item; made of its fields where so declared."""
        fields = {"categories": item.categories, "title": item.title}
        given = {} if self._takes_ids else {CATEGORY_NAMES: ()}
        features = item.features or {}
        for name, fitted in self._columns.items():
            value = features.get(name)
            if value is None:
                value = fields.get(fitted.column.source) or None
            if value is not None:
                given[name] = _to_value(fitted.column, value, item.item_id)
        return given


def item_embedder(
    item_tower: ServedItemTower,
    manifest: Mapping[str, Any],
    values: FeatureValues | None = None,
) -> FeatureEmbedder | None:
    """What makes vectors of upserted items; None where the model knows nothing but ids.

    Args:
        item_tower: Of a release.
        manifest: Of its folder.
        values: Told of the values of features that upserts give.
    """
    if NEW_ITEMS_SIGNATURE not in item_tower.signature_defs:
        return None
    return FeatureEmbedder(item_tower, manifest, values)


def _refuse_unknown(item_id: str, features: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in features:
        if name not in known:
            has = f"It declares {', '.join(known)}" if known else "It declares none"
            raise InputError(
                f"Item {item_id!r} has the feature {name!r}, which the model does not declare. "
                f"{has}."
            )


def _to_value(column: FeatureColumn, value: Any, item_id: str) -> Any:
    """A value as `to_tensor` takes it.

    Raises:
        InputError: It is of another kind.
    """
    if column.kind == "categorical":
        names = value if isinstance(value, list | tuple) else [value]
        if all(isinstance(name, str | int) for name in names) and (
            column.has_several_values or len(names) <= 1
        ):
            return [_name(name) for name in names if name != ""]
        wanted = "a list of texts" if column.has_several_values else "a text"
    elif column.kind == "numeric":
        wanted = "a finite number"
        if _is_finite(value):
            return float(value)
    elif column.kind == "vector":
        wanted = f"a list of {column.dim} finite numbers"
        is_list = isinstance(value, list | tuple)
        if is_list and len(value) == column.dim and all(map(_is_finite, value)):
            return value
    else:
        wanted = "a text"
        if isinstance(value, str):
            return value
    raise InputError(
        f"Feature {column.name!r} of item {item_id!r} must be {wanted}, received {value!r:.80}."
    )


def _name(value: str | int) -> str:
    # As Arrow writes a truth value of an items file.
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _is_finite(value: Any) -> bool:
    try:
        return not isinstance(value, str) and bool(abs(value) <= LARGEST_NUMBER)
    except (TypeError, ValueError):
        return False


def _join(parts: Sequence[Mapping[str, np.ndarray]]) -> EmbeddedItems:
    unknown = None
    if "num_unknown" in parts[0]:
        unknown = np.concatenate([part["num_unknown"] for part in parts])
    return EmbeddedItems(
        np.concatenate([part["item_vectors"] for part in parts]),
        np.concatenate([part["num_known"] for part in parts]),
        parts[0]["fingerprint"][0].decode(),
        unknown,
    )
