"""The settings that a change of examples must share with what made them. Imports no TensorFlow."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.artifacts import records
from recall.errors import InputError

_FLAGS = {"event_type": "event_type_column", "weight": "weight_column"}
"""Settings of `reading` whose flags have other names."""
_DECLARED = {"features": "features.columns", "attributes": "features.attributes"}
"""Settings that are declared in another section, as JSON, which a shell needs quotes for."""


def check(examples_dir: str | Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuses settings that made other examples.

    Args:
        examples_dir: The folder, for the message.
        old: Settings of its record.
        new: Of the record that the same command would make of it now.

    Raises:
        InputError: They differ; it names the flags that make them the same.
    """
    before, now = dict(records.list_settings(old)), dict(records.list_settings(new))
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if not names:
        return
    made, given = ([f"{name}={_show(some.get(name))}" for name in names] for some in (before, now))
    switches = " ".join(_flag(name, before.get(name)) for name in names)
    raise InputError(
        f"{examples_dir} was made with {', '.join(made)}, and this command has "
        f"{', '.join(given)}. Give {switches}, or make all examples again."
    )


def check_items(examples_dir: str | Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuses other features of items where no items file has their values; as `check`.

    Raises:
        InputError: Nothing else differs, so that a file is all that is missing.
    """
    if old != new and with_items_of(old, new) == new:
        raise InputError(
            f"{examples_dir} was made with other features or attributes of items than this command "
            "declares. Pass --items=FILE, which has the values of all items, to take them in; or "
            "declare those of before."
        )


def with_items_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that made examples, but what is declared of items as in others.

    With an items file all items get their values anew, so that nothing of these is kept.

    >>> brand, device = {"name": "brand", "owner": "item"}, {"name": "device", "owner": "event"}
    >>> with_items_of({"features": [device]}, {"features": [brand, device]})["features"]
    [{'name': 'brand', 'owner': 'item'}, {'name': 'device', 'owner': 'event'}]
    """
    settings = {name: value for name, value in old.items() if name != "attributes"}
    if "attributes" in new:
        settings["attributes"] = new["attributes"]
    of_others = [
        [column for column in some.get("features", ()) if column["owner"] != "item"]
        for some in (old, new)
    ]
    if of_others[0] == of_others[1]:
        settings.pop("features", None)
        if "features" in new:
            settings["features"] = new["features"]
    return settings


def _flag(name: str, value: Any) -> str:
    """What to type: settings of `reading` have flags of their own."""
    if name in _DECLARED:
        return f"--set='{_DECLARED[name]}={_show(value or [])}'"
    section, _, rest = name.partition(".")
    rest = _FLAGS.get(rest, rest)
    return f"--{rest}={_show(value)}" if section == "reading" else f"--set={name}={_show(value)}"


def _show(value: Any) -> str:
    """A value as flags take it."""
    return json.dumps(value).strip('"')
