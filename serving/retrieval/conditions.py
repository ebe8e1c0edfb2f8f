"""Conditions of a request -> rows of the items that fulfil them.

Imports no TensorFlow. The categories are an attribute of every release.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recall.errors import InputError
from recall.feature_columns.attributes import CATEGORY_NAMES, ItemAttribute
from serving.api.conditions import (
    ItemCondition,
    UnknownValue,
    Value,
    boosts_of,
    conditions_of,
)
from serving.index.catalogue import CatalogueView

_CATEGORIES = ItemAttribute("category_names")
"""How names of categories are read; they are no column of the attributes."""


def rows_of_condition(view: CatalogueView, condition: ItemCondition, field: str) -> np.ndarray:
    """`[n]` int64, rows that fulfil a condition, ascending.

    Args:
        view: The items.
        condition: Of a request.
        field: Of the request, for errors.

    Raises:
        InputError: The release has no such attribute, or one of another kind.
    """
    name = condition.attribute
    is_categories = name == CATEGORY_NAMES
    attribute = _CATEGORIES if is_categories else view.attributes.declared.get(name)
    if attribute is None:
        known = [f"{a.name} ({a.kind})" for a in view.attributes.declared.values()]
        raise InputError(
            f"`{field}` has {name!r}, which this release does not declare. It declares "
            f"{', '.join([f'{CATEGORY_NAMES} (categorical)', *known])}."
        )
    place = f"`{field}.{name}`"
    if condition.any_of is not None:
        values = [_read(attribute, value, place) for value in condition.any_of]
        if is_categories:
            return view.rows_in(view.category_codes(tuple(values)))
        return view.attributes.rows_with(name, values)
    if not attribute.is_ordered:
        raise InputError(
            f"{place} is a range, but {name!r} is {attribute.kind}. Give a value, or several."
        )
    ends = (condition.least, -np.inf), (condition.most, np.inf)
    least, most = (none if end is None else _read(attribute, end, place) for end, none in ends)
    if least > most:
        raise InputError(f"{place} has a `min` of {least:g} above its `max` of {most:g}.")
    return view.attributes.rows_between(name, least, most)


def unknown_categories(view: CatalogueView, names: Sequence[str]) -> tuple[str, ...]:
    """Those of some names that are no category of a view, in their order, each once."""
    if not names:
        return ()
    distinct = tuple(dict.fromkeys(names))
    if len(view.category_codes(distinct)) == len(distinct):
        return ()
    return tuple(name for name in distinct if not len(view.category_codes((name,))))


def unknown_values(
    view: CatalogueView,
    where: Mapping[str, Any] | None,
    boosts: Sequence[Mapping[str, Any]] = (),
) -> tuple[UnknownValue, ...]:
    """Names that conditions ask for and no item has, in their order, each once.

    Numbers and times are no names: that no item has just this one is no mistake.

    Args:
        view: The items.
        where: Of a request. Attributes that the release does not declare are refused elsewhere.
        boosts: Of the request.

    Raises:
        InputError: A value is of another kind.
    """
    if not where and not boosts:
        return ()
    every = [*conditions_of(where), *(c for boost in boosts_of(boosts) for c in boost.where)]
    found: dict[UnknownValue, None] = {}
    for name, any_of, _, _ in every:
        attribute = _CATEGORIES if name == CATEGORY_NAMES else view.attributes.declared.get(name)
        if any_of is None or attribute is None or attribute.is_ordered:
            continue
        values = [_read(attribute, value, f"`{name}`") for value in any_of]
        if attribute is _CATEGORIES:
            lacking = unknown_categories(view, values)
        else:
            lacking = view.attributes.names_of_nothing(name, values)
        found |= dict.fromkeys(UnknownValue(name, value) for value in lacking)
    return tuple(found)


def _read(attribute: ItemAttribute, value: Value, place: str) -> str | float:
    try:
        return attribute.read(value)
    except ValueError as error:
        kind = "" if attribute.kind == "time" else f": the attribute is {attribute.kind}"
        raise InputError(
            f"{place} must be {attribute.wanted}, received {value!r:.80}{kind}."
        ) from error
