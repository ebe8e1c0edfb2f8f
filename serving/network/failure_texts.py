"""What texts of other libraries say about a call that failed.

Neither gRPC nor Python's ssl tells by codes why a connection could not be made, so their texts
are read. Which text is whose stands here; for every row a test provokes it, so that a release
with another wording is seen. Imports no TensorFlow and no gRPC.
"""

import enum
from typing import NamedTuple

_GRPC = "gRPC 1.85"
_BORINGSSL = "BoringSSL in gRPC 1.85"
_OPENSSL = "OpenSSL 3.0, of Python's ssl"
_PYTHON = "Python 3.10 to 3.12"
_HTTPCORE = "httpcore 1.0"
_LINUX = "Linux"


class Cause(enum.Enum):
    """What is wrong between a client and a server."""

    WRONG_NAME = "the certificate is not for this address"
    WRONG_AUTHORITY = "the certificate is out of date, or of an authority that is not trusted"
    NO_TLS = "the server speaks without TLS"
    HUNG_UP = "the server closed the connection"


class FailureText(NamedTuple):
    """A part of the text of an error.

    Attributes:
        text: What the error's text has in it.
        source: Whose text it is, and the version it was seen in.
        cause: What is wrong then.
    """

    text: str
    source: str
    cause: Cause


# OpenSSL's "record layer failure" is no row: OpenSSL 3.5.8 says it of a damaged record, and of a
# server without TLS still WRONG_VERSION_NUMBER.
FAILURE_TEXTS = (
    FailureText("Hostname Verification", _GRPC, Cause.WRONG_NAME),
    FailureText("ostname mismatch", _OPENSSL, Cause.WRONG_NAME),
    FailureText("IP address mismatch", _OPENSSL, Cause.WRONG_NAME),
    FailureText("CERTIFICATE_VERIFY_FAILED", f"{_BORINGSSL}; {_OPENSSL}", Cause.WRONG_AUTHORITY),
    FailureText("WRONG_VERSION_NUMBER", f"{_BORINGSSL}; {_OPENSSL}", Cause.NO_TLS),
    # A server that wants another certificate, or a certificate at all, just hangs up on some.
    FailureText("CERTIFICATE_REQUIRED", _BORINGSSL, Cause.HUNG_UP),
    FailureText("ALERT", f"{_BORINGSSL}; {_OPENSSL}", Cause.HUNG_UP),
    FailureText("EOF occurred", _PYTHON, Cause.HUNG_UP),
    FailureText(
        "failed to connect to all addresses; last error: UNAVAILABLE", _GRPC, Cause.HUNG_UP
    ),
    FailureText("Connection reset", _LINUX, Cause.HUNG_UP),
    FailureText("Broken pipe", _LINUX, Cause.HUNG_UP),
    FailureText("Server disconnected", _HTTPCORE, Cause.HUNG_UP),
)
"""The first row whose text an error has counts: a wrong name is a failed verification too."""

UNREACHED_TEXTS = (
    ("failed to connect", _GRPC),
    ("errors resolving", _GRPC),
    ("Socket closed", _GRPC),
    ("reset by peer", f"{_LINUX}, passed on by {_GRPC}"),
    ("recvmsg", _GRPC),
)
"""Texts, and whose they are, that gRPC itself gives with UNAVAILABLE; another text of that
code is a server's."""


def is_of_grpc(details: str) -> bool:
    """Whether an error of the code UNAVAILABLE is gRPC's own, so that no server has answered."""
    return any(text in details for text, _ in UNREACHED_TEXTS)


def find_cause(details: str) -> Cause | None:
    """What the text of an error says is wrong, None if no row knows it."""
    return next((row.cause for row in FAILURE_TEXTS if row.text in details), None)
