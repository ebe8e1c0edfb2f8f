"""The command `recall query`. Imports neither TensorFlow nor NumPy, also when it is called."""

import sys
from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import call_flags, tls_flags
from pipelines.commands.shared.flags import Command, FlagSpec
from serving.api.recall_request import REQUEST_FIELDS
from serving.api.request_fields import Kind

_FLAGS = {
    Kind.TEXTS: {"kind": "list"},
    Kind.NUMBERS: {"kind": "list"},
    Kind.TEXT: {"kind": "string"},
    Kind.INTEGER: {"kind": "integer", "minimum": 1},
    Kind.NUMBER: {"kind": "float", "minimum": 0},
    Kind.SWITCH: {"kind": "boolean"},
}
"""What each kind of field is as a flag."""


def _request_flags() -> dict[str, FlagSpec]:
    """The flags that are fields of a request."""
    fields = {field.name: field for field in REQUEST_FIELDS if field.flag}
    names = [name for name, field in fields.items() if not field.flag.after]
    for name, field in fields.items():
        if field.flag.after:
            names.insert(names.index(field.flag.after) + 1, name)
    return {
        name: FlagSpec(
            help=fields[name].flag.help,
            value=fields[name].flag.value,
            default=fields[name].default,
            suggestions=fields[name].choices,  # Checked where all of a request is.
            **_FLAGS[fields[name].kind],
        )
        for name in names
    }


COMMAND = Command(
    summary="Asks a running server for recommendations.",
    description="Sends one history, or items to find similar ones of, to a server started by "
    "`recall serve` and prints the recalled items and the interest that found each.",
    examples=(
        "query --server=127.0.0.1:8500 --history=12,57,3 --k=20",
        "query --server=http://127.0.0.1:8501 --history=12,57,3 --categories=Action,Drama",
        "query --similar_to=12 --max_per_category=3",
    ),
    flags={
        **call_flags.SERVER,
        **_request_flags(),
        **call_flags.CALL,
    },
    extra="client",
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Asks the server and shows its answer."""
    from pipelines.clients import query
    from serving.api import client
    from serving.network import door_address

    request = query.build_request(
        {name: values[name].value for name in query.REQUEST_FLAGS if values[name].present}
    )
    tls = tls_flags.read_client_tls(values, "", "server")
    server = door_address.check(values.server)
    answer = client.query(server, request, timeout_s=values.timeout_s, tls=tls)
    sys.stdout.write(query.format_answer(answer))
