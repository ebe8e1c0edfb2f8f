"""The command `recall query`. Imports neither TensorFlow nor NumPy, also when it is called."""

import logging
import sys
from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import call_flags, request_flags, tls_flags
from pipelines.commands.shared.flags import Command

_log = logging.getLogger(__name__)

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
        **request_flags.request_flags(),
        **call_flags.CALL,
    },
    extra="client",
)


def call(values: flags.FlagValues, _: Sequence[str]) -> None:
    """Asks the server and shows its answer."""
    from pipelines.clients import query
    from serving.api import client
    from serving.api.conditions import describe_unknown
    from serving.network import door_address

    request = query.build_request(request_flags.given(values, query.REQUEST_FLAGS))
    tls = tls_flags.read_client_tls(values, "", "server")
    server = door_address.check(values.server)
    answer = client.query(server, request, timeout_s=values.timeout_s, tls=tls)
    sys.stdout.write(query.format_answer(answer))
    if answer.unknown_values:
        _log.warning("%s", describe_unknown(answer.unknown_values))
