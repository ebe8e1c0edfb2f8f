"""Flags of commands that call one running server: where it is, and how long to wait for it.

Imports no TensorFlow.
"""

from pipelines.commands.shared import tls_flags
from pipelines.commands.shared.flags import FlagSpec

SERVER = {
    "server": FlagSpec(
        help="Address of the server's gRPC port, or http://HOST:PORT of its HTTP port "
        "(https:// with TLS).",
        value="HOST:PORT",
        default="127.0.0.1:8500",
    ),
}

CALL = {
    "timeout_s": FlagSpec(
        help="Seconds to wait for an answer.",
        value="N",
        default=10.0,
        kind="float",
        minimum=0.001,
        maximum=86_400,
    ),
    **tls_flags.client_flags("", "the server"),
}
