"""The command `recall query`. Imports no TensorFlow until it is called."""

import sys
from collections.abc import Sequence

from absl import flags

from pipelines.commands.shared import tls_flags
from pipelines.commands.shared.flags import Command, FlagSpec

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
        "server": FlagSpec(
            help="Address of the server's gRPC port, or http://HOST:PORT of its HTTP port "
            "(https:// with TLS).",
            value="HOST:PORT",
            default="127.0.0.1:8500",
        ),
        "history": FlagSpec(
            help="Ids of the items the user clicked, oldest first, separated by commas.",
            value="IDS",
            default=(),
            kind="list",
        ),
        "k": FlagSpec(help="Items wanted.", value="N", default=20, kind="integer", minimum=1),
        "similar_to": FlagSpec(
            help="Ids of items; instead of --history, items like these are wanted.",
            value="IDS",
            default=(),
            kind="list",
        ),
        "exclude": FlagSpec(
            help="Ids of items that must not be in the answer.",
            value="IDS",
            default=(),
            kind="list",
        ),
        "include_seen": FlagSpec(
            help="Also recalls items of the history.", value="", default=False, kind="boolean"
        ),
        "allow": FlagSpec(
            help="Ids of the only items that may be in the answer.",
            value="IDS",
            default=(),
            kind="list",
        ),
        "categories": FlagSpec(
            help="Only items that have at least one of these categories.",
            value="NAMES",
            default=(),
            kind="list",
        ),
        "exclude_categories": FlagSpec(
            help="No items that have one of these categories.",
            value="NAMES",
            default=(),
            kind="list",
        ),
        "max_per_category": FlagSpec(
            help="Most items of any one category. Without it there is no limit.",
            value="N",
            default=None,
            kind="integer",
            minimum=1,
        ),
        "interest_weights": FlagSpec(
            help="One number per interest, which multiplies its scores; 0 leaves the interest "
            "out. With --merge=quota: the interest's share of the answer.",
            value="NUMBERS",
            default=(),
            kind="list",
        ),
        "merge": FlagSpec(
            help="How the lists of the interests become one: max_score, quota (each interest "
            "has its share of the places) or diversity (score against difference of "
            "categories).",
            value="MODE",
            default="max_score",
        ),
        "diversity_weight": FlagSpec(
            help="With --merge=diversity: what a difference is worth.",
            value="N",
            default=0.1,
            kind="float",
            minimum=0,
        ),
        "exact": FlagSpec(
            help="Scores every item instead of asking the index.",
            value="",
            default=False,
            kind="boolean",
        ),
        "timeout_s": FlagSpec(
            help="Seconds to wait for an answer.",
            value="N",
            default=10.0,
            kind="float",
            minimum=0.001,
            maximum=86_400,
        ),
        **tls_flags.client_flags("", "the server"),
    },
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
