"""Flags that are fields of a recall request. Imports neither TensorFlow nor NumPy."""

from collections.abc import Collection, Mapping
from typing import Any

from absl import flags

from pipelines.commands.shared.flags import FlagSpec
from serving.api.recall_request import REQUEST_FIELDS
from serving.api.request_fields import Kind

_FLAGS = {
    Kind.TEXTS: {"kind": "list"},
    Kind.NUMBERS: {"kind": "list"},
    Kind.TEXT: {"kind": "string"},
    Kind.INTEGER: {"kind": "integer", "minimum": 1},
    Kind.NUMBER: {"kind": "float", "minimum": 0},
    Kind.SWITCH: {"kind": "boolean"},
    **{kind: {"kind": "string"} for kind in Kind if kind.is_document},
}
"""What each kind of field is as a flag."""


def request_flags(left_out: Collection[str] = ()) -> dict[str, FlagSpec]:
    """The flags that are fields of a request, but for some."""
    fields = {field.name: field for field in REQUEST_FIELDS if field.flag}
    names = [name for name, field in fields.items() if not field.flag.after]
    for name, field in fields.items():
        if field.flag.after:
            names.insert(names.index(field.flag.after) + 1, name)
    return {
        name: FlagSpec(
            help=fields[name].flag.help,
            value=fields[name].flag.value,
            default=None if fields[name].kind.is_document else fields[name].default,
            suggestions=fields[name].choices,  # Checked where all of a request is.
            **_FLAGS[fields[name].kind],
        )
        for name in names
        if name not in left_out
    }


def given(values: flags.FlagValues, names: Collection[str]) -> Mapping[str, Any]:
    """Those of some flags that are on the command line."""
    return {name: values[name].value for name in names if values[name].present}
