"""What an upserted item says of attributes: checked, and put beside what its release says.

Imports no TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from recall.errors import InputError
from recall.feature_columns.attributes import ItemAttribute
from serving.live.store import ItemChange


def check_given(
    declared: Mapping[str, ItemAttribute],
    of_model: Sequence[str],
    item_id: str,
    features: Mapping[str, Any],
) -> None:
    """Refuses names that a release does not declare, and values of another kind.

    Args:
        declared: Attributes of the release.
        of_model: Names of its model's features, whose values the model checks.
        item_id: Of the item.
        features: What is said of it.

    Raises:
        InputError: One is refused.
    """
    for name, value in features.items():
        if name in of_model:
            continue
        if name not in declared:
            known = (*of_model, *(other for other in declared if other not in of_model))
            has = f"It declares {', '.join(known)}" if known else "It declares none"
            raise InputError(
                f"Item {item_id!r} has the feature {name!r}, which the release does not declare. "
                f"{has}."
            )
        try:
            declared[name].read_all(value)
        except ValueError as error:
            raise InputError(
                f"Feature {name!r} of item {item_id!r} must be {declared[name].wanted}, received "
                f"{value!r:.80}."
            ) from error


def of_change(
    declared: Mapping[str, ItemAttribute], change: ItemChange, of_release: Mapping[str, Any]
) -> dict[str, Any]:
    """Values of an upserted item by name: as the change says, or else as its release does.

    Args:
        declared: Attributes of the release.
        change: An upsert.
        of_release: What the release has of the item; nothing where it lacks it.
    """
    values = dict(of_release)
    fields = {"categories": change.categories and list(change.categories), "title": change.title}
    for name, attribute in declared.items():
        given = (change.features or {}).get(name)
        given = fields.get(attribute.source) if given is None else given
        if given is None:
            continue
        try:
            values[name] = attribute.read_all(given)
        except ValueError:  # Said to an earlier release, which had another kind of it.
            values.pop(name, None)
    return values
