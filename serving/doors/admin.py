"""Who may change what the server serves: bearers of the admin token.

Imports no TensorFlow and no gRPC. Both doors ask `AdminGuard.check` before a
call that changes something: a reload, a write to the live items.
"""

import functools
import hmac
import os
from collections.abc import Callable
from pathlib import Path

from recall.errors import InputError
from serving.network.watched_files import WatchedFiles
from serving.protocol.status import Code, ServingError

_SCHEME = "bearer "

_MIN_CHARACTERS = 16
"""Shorter tokens can be guessed; `openssl rand -hex 32` makes a good one."""


class AdminGuard:
    """Compares the token of a call with the server's."""

    def __init__(self, token: str | Callable[[], str] | None, *, open_without_token: bool = True):
        """Guards admin calls.

        Args:
            token: Or what tells the token of the moment; None when the server has none.
            open_without_token: Whether admin calls are then allowed: only
                where no other machine reaches the server.
        """
        self._token = token
        self._open_without_token = open_without_token

    @property
    def has_token(self) -> bool:
        """Whether callers have to know a token."""
        return self._token is not None

    def check(self, authorization: str | None) -> None:
        """Lets an admin call through.

        Args:
            authorization: The header (HTTP) or metadata (gRPC) of that name.

        Raises:
            ServingError: UNAUTHENTICATED without a token, PERMISSION_DENIED
                with a wrong one or where admin calls are closed.
        """
        if self._token is None:
            if self._open_without_token:
                return
            raise ServingError(
                Code.PERMISSION_DENIED,
                "Admin calls are closed, for other machines reach this server. "
                "Start it with --admin_token_file=FILE.",
            )
        if authorization is None or not authorization.lower().startswith(_SCHEME):
            raise ServingError(
                Code.UNAUTHENTICATED,
                "This call needs the admin token: send `authorization: Bearer TOKEN`.",
            )
        sent = authorization[len(_SCHEME) :].strip()
        token = self._token() if callable(self._token) else self._token
        if not hmac.compare_digest(sent.encode(), token.encode()):
            raise ServingError(Code.PERMISSION_DENIED, "The admin token is not the server's.")


def watched_token(path: str | os.PathLike) -> WatchedFiles[str]:
    """The token in a file, which may be replaced by another one.

    Raises:
        InputError: See `read_token`.
    """
    return WatchedFiles([path], functools.partial(read_token, path), what="the admin token")


def read_token(path: str | os.PathLike) -> str:
    """The token in a file, without the white space around it.

    Raises:
        InputError: The file cannot be read, or its token is too short.
    """
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"Cannot read --admin_token_file={path}: {reason}.") from error
    if len(token) < _MIN_CHARACTERS or not token.isascii() or not token.isprintable():
        raise InputError(
            f"--admin_token_file={path} must hold one token of at least {_MIN_CHARACTERS} "
            "printable ASCII characters. Make one with `openssl rand -hex 32`."
        )
    return token
