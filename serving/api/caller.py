"""What the clients for threads and for coroutines have in common; see `client`.

Imports neither TensorFlow nor NumPy, and no gRPC.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

from recall.errors import InputError
from serving.api.client_connections import Where
from serving.api.client_errors import CallError
from serving.api.questions import Question
from serving.api.recall_request import REQUEST_FIELDS, RecallRequest
from serving.api.request_fields import Kind, read_value
from serving.network import door_address
from serving.network.client_tls import ClientTls
from serving.network.retries import Attempts, RetryBudget, RetryPolicy
from serving.protocol import plain_tensors
from serving.protocol.json_document import in_one_line

TIMEOUT_S = 10.0
"""Longest wait where the caller names none: a first request may meet a cold model."""

MAX_CONNECTIONS = 64
"""As many as a server answers at a time by default."""

DEFAULT_RETRIES = RetryPolicy()


Vectors: TypeAlias = Sequence[Sequence[float]] | plain_tensors.ArrayLike
"""Rows of numbers."""


class RequestFields(TypedDict, total=False):
    """What a call may say beside its subject and `k`; see `RecallRequest` for each."""

    exclude: Sequence[str]
    include_seen: bool
    fingerprint: str
    allow: Sequence[str]
    deny: Sequence[str]
    categories: Sequence[str]
    exclude_categories: Sequence[str]
    max_per_category: int | None
    interest_weights: Sequence[float]
    merge: str
    diversity_weight: float
    leaves_to_search: int | None
    reorder: int | None
    exact: bool
    where: Mapping[str, Any] | None
    boosts: Sequence[Mapping[str, Any]]
    context: Mapping[str, Any]
    with_metadata: bool
    with_interests: bool


class Caller:
    """What both clients are: an address, certificates, a time and a policy of retries."""

    def __init__(
        self,
        server: str = "127.0.0.1:8500",
        *,
        timeout_s: float = TIMEOUT_S,
        retries: RetryPolicy = DEFAULT_RETRIES,
        token: str | None = None,
        tls_server_ca: str | os.PathLike | None = None,
        tls_certificate: str | os.PathLike | None = None,
        tls_key: str | os.PathLike | None = None,
        tls: ClientTls | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ):
        """Names a server; nothing is sent yet.

        Args:
            server: `host:port` of its gRPC door, or `http://host:port` or `https://host:port`
                of its HTTP door. Calls are direct, whatever proxy the environment names.
            timeout_s: Longest wait for one call with all its attempts, in seconds.
            retries: When calls that change nothing are sent again; `RetryPolicy(max_attempts=1)`
                for never.
            token: The admin token, for changes of items.
            tls_server_ca: PEM file of the authorities of the server's certificate; over gRPC,
                None speaks without encryption, over https:// it trusts those of the system.
            tls_certificate: PEM file of the client's certificate, for mutual TLS.
            tls_key: PEM file of its private key, without a password.
            tls: All three, for callers that have them together.
            max_connections: Open at a time over HTTP; over gRPC there is one.

        Raises:
            InputError: An argument is of another kind, or a certificate cannot be used.
        """
        if tls is None:
            if bool(tls_certificate) != bool(tls_key) or (tls_certificate and not tls_server_ca):
                raise InputError(
                    "A client certificate needs tls_server_ca, tls_certificate and tls_key."
                )
            tls = ClientTls(tls_server_ca, tls_certificate, tls_key, None)
        _check_kind("tls", tls, ClientTls)
        _check_kind("token", token, str | None)
        if read_value("max_connections", Kind.INTEGER, max_connections) < 1:
            raise InputError(f"`max_connections` must be at least 1, received {max_connections}.")
        self.server = door_address.check(read_value("server", Kind.TEXT, server), "server")
        self.timeout_s = _check_timeout(timeout_s)
        self._retries, self._budget = _check_retries(retries), RetryBudget(retries)
        self._where = Where(self.server, tls, token, max_connections)
        self._where.check()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.server!r}, timeout_s={self.timeout_s:g})"

    def begin(self, question: Question, timeout_s: float | None) -> tuple[float, Attempts]:
        """The time of a call, and its attempts.

        Raises:
            InputError: The time is none.
        """
        timeout_s = self.timeout_s if timeout_s is None else _check_timeout(timeout_s)
        policy = self._retries if question.is_safe else self._retries._replace(max_attempts=1)
        return timeout_s, Attempts(policy, self._budget, timeout_s)


def _check_timeout(timeout_s: Any) -> float:
    if not read_value("timeout_s", Kind.NUMBER, timeout_s) > 0:
        raise InputError(f"`timeout_s` must be a number > 0, received {timeout_s}.")
    return timeout_s


def _check_kind(name: str, value: Any, kind: Any) -> None:
    if not isinstance(value, kind):
        words = getattr(kind, "__name__", str(kind))
        raise InputError(f"`{name}` must be of the type {words}, received {in_one_line(value)}.")


def _check_retries(policy: Any) -> RetryPolicy:
    _check_kind("retries", policy, RetryPolicy)
    if read_value("max_attempts", Kind.INTEGER, policy.max_attempts) < 1:
        raise InputError(f"`max_attempts` must be at least 1, received {policy.max_attempts}.")
    for name in RetryPolicy._fields[1:]:
        if not read_value(name, Kind.NUMBER, getattr(policy, name)) >= 0:
            raise InputError(f"`{name}` must be >= 0, received {getattr(policy, name)}.")
    return policy


def wait_s(error: CallError, attempts: Attempts) -> float:
    """How long to wait after a failed attempt.

    Raises:
        CallError: The call has failed.
    """
    waiting_s = attempts.wait_s(error.retry_after_s) if error.is_transient else None
    if waiting_s is None:
        raise error
    return waiting_s


def request_of(
    history: Sequence[str] | None,
    similar_to: Sequence[str],
    user_vectors: Vectors | None,
    k: int,
    fields: RequestFields,
) -> RecallRequest:
    """A request from arguments; lists become the tuples that it holds."""
    if isinstance(history, str) or isinstance(similar_to, str):
        raise InputError("Give a list of item ids, not one text: history=['12', '57'].")
    return RecallRequest(
        history=plain_value("history", history),
        similar_to=plain_value("similar_to", similar_to),
        user_vectors=plain_value("user_vectors", user_vectors),
        k=plain_value("k", k),
        **plain_fields(fields),
    )


def plain_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a caller as fields of a request: lists become the tuples that it holds.

    Raises:
        InputError: A request has no such field, or a value is of another kind.
    """
    unknown = sorted(fields.keys() - RequestFields.__annotations__.keys())
    if unknown:
        known = ", ".join(RequestFields.__annotations__)
        raise InputError(f"A recall request has no `{unknown[0]}`. It may have: {known}.")
    return {name: plain_value(name, value) for name, value in fields.items()}


def plain_value(name: str, value: Any) -> Any:
    """An argument of a caller as a request holds it; None is what a request has without it.

    Raises:
        InputError: It is of another kind.

    >>> plain_value("categories", ["Coffee"])
    ('Coffee',)
    """
    spec = _SPECS[name]
    return spec.default if value is None else read_value(name, spec.kind, value)


_SPECS = {spec.name: spec for spec in REQUEST_FIELDS}
