"""Flags of `recall serve` about its HTTP door and its logs.

Imports no TensorFlow, until the flags are read.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from absl import flags

from pipelines.commands.shared.flags import FlagSpec
from recall.errors import InputError
from serving.monitoring import access_log

if TYPE_CHECKING:
    from serving.http_door.limits import HttpLimits


def _seconds(what: str, default: float) -> FlagSpec:
    return FlagSpec(
        help=f"Seconds {what}; later it is closed.",
        value="N",
        default=default,
        kind="float",
        minimum=0.1,
        maximum=86_400,
    )


FLAGS = {
    "allowed_hosts": FlagSpec(
        help="Names under which the HTTP port may be asked (header Host, without a port), beside "
        "localhost and this machine's own addresses. Without it a server for other machines "
        "(--host) answers to any name.",
        value="NAMES",
        default=(),
        kind="list",
    ),
    "cors_allowed_origins": FlagSpec(
        help="Web pages that may use the HTTP port, for example https://shop.example; others are "
        "refused. * lets all pages ask, but change nothing.",
        value="ORIGINS",
        default=(),
        kind="list",
    ),
    "explorer": FlagSpec(
        help="Shows the interest explorer at / of the HTTP port, a page that changes nothing; "
        "--explorer=false leaves it out.",
        default=True,
        kind="boolean",
    ),
    "max_http_connections": FlagSpec(
        help="HTTP connections open at a time; the excess is refused with 503.",
        value="N",
        default=2048,
        kind="integer",
        minimum=1,
        maximum=100_000,
    ),
    "max_http_connections_per_peer": FlagSpec(
        help="Of them from one address; a load balancer is one address.",
        value="N",
        default=1024,
        kind="integer",
        minimum=1,
        maximum=100_000,
    ),
    "http_header_timeout_s": _seconds("an HTTP connection has to send its headers", 10.0),
    "http_body_timeout_s": _seconds("it has to send the body of a request", 30.0),
    "http_idle_timeout_s": _seconds(
        "it may wait for the next request, more than a load balancer in front keeps it", 60.0
    ),
    "http_write_timeout_s": _seconds("it has to take an answer", 30.0),
    "access_log": FlagSpec(
        help="A line on stderr for every request of both ports, text or json; off writes none. No "
        "line has a history.",
        value="MODE",
        default="off",
        choices=access_log.MODES,
    ),
    "otlp_endpoint": FlagSpec(
        help="OpenTelemetry collector that gets a span for every request of both ports (OTLP over "
        "gRPC), for example http://127.0.0.1:4317; needs `pip install 'recall[serve,otel]'`.",
        value="URL",
    ),
    "log_format": FlagSpec(
        help="Form of all lines on stderr: text, or json with one object per line.",
        value="FORMAT",
        default="text",
        choices=("text", "json"),
    ),
}


def read_http_options(values: flags.FlagValues) -> dict[str, Any]:
    """The options of the server that these flags make.

    Raises:
        InputError: A value makes no sense.
    """
    for origin in values.cors_allowed_origins:
        _check_origin(origin)
    for host in values.allowed_hosts:
        if not host or "/" in host or (":" in host and not host.startswith("[")):
            raise InputError(
                f"--allowed_hosts takes names without a scheme or a port, received {host!r}. "
                "Write for example shop.example or [2001:db8::1]."
            )
    return {
        "http": _limits(values),
        "allowed_hosts": tuple(values.allowed_hosts),
        "cors_allowed_origins": tuple(values.cors_allowed_origins),
        "explorer": values.explorer,
        "access_log": values.access_log,
        "otlp_endpoint": values.otlp_endpoint,
    }


def _limits(values: flags.FlagValues) -> "HttpLimits":
    from serving.http_door.limits import HttpLimits

    return HttpLimits(
        header_timeout_s=values.http_header_timeout_s,
        body_timeout_s=values.http_body_timeout_s,
        idle_timeout_s=values.http_idle_timeout_s,
        write_timeout_s=values.http_write_timeout_s,
        max_connections=values.max_http_connections,
        max_connections_per_peer=values.max_http_connections_per_peer,
    )


def _check_origin(origin: str) -> None:
    parts = urlsplit(origin)
    is_origin = parts.scheme in ("http", "https") and parts.netloc and origin.endswith(parts.netloc)
    if origin != "*" and not is_origin:
        raise InputError(
            f"--cors_allowed_origins takes origins, received {origin!r}. Write for example "
            "https://shop.example, without a path, or *."
        )
