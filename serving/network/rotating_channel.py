"""Connections of a server to others, which outlive the certificates they began with.

Imports no TensorFlow, and gRPC only when a channel is opened.

A gRPC channel keeps the certificates it was opened with. Here calls go over a new
channel once the files say something new; calls in flight end on the old one.
"""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from serving.network.addresses import require_address
from serving.network.client_tls import ClientTls
from serving.network.watched_files import WatchedFiles

if TYPE_CHECKING:
    import grpc


class RotatingTls:
    """Opens channels like `ClientTls`, with the certificates of the moment.

    Attributes:
        files: Where they are.
    """

    def __init__(self, files: ClientTls):
        """Reads the files.

        Raises:
            InputError: One cannot be used.
        """
        self.files = files
        paths = [path for path in files[:3] if path is not None]
        what = f"the certificates of --{files.flag_prefix}tls_server_ca"
        self._watched = WatchedFiles(paths, files.credentials, what=what)

    def refresh(self, *, force: bool = False) -> None:
        """See `WatchedFiles.refresh`."""
        if self.files.server_ca is not None:
            self._watched.refresh(force=force)

    def open_channel(
        self, address: str, options: Sequence[tuple[str, Any]] | None = None
    ) -> "RotatingChannel":
        """See `ClientTls.open_channel`."""
        require_address(address)
        return RotatingChannel(self._watched, self.files, address, options)

    def find_cause(self, details: str) -> str | None:
        """See `ClientTls.find_cause`."""
        return self.files.find_cause(details)


class RotatingChannel:
    """As much of `grpc.Channel` as stubs use; safe to use from several threads."""

    def __init__(
        self,
        watched: "WatchedFiles[grpc.ChannelCredentials | None]",
        files: ClientTls,
        address: str,
        options: Sequence[tuple[str, Any]] | None,
    ):
        """Opens a channel; nothing is sent yet."""
        self._watched = watched
        self._open = lambda: files.channel_with(watched.content, address, options)
        self._lock = threading.Lock()
        self._generation = watched.generation
        self._channel = self._open()
        self._previous: grpc.Channel | None = None

    def unary_unary(self, *arguments: Any, **named: Any) -> "_RotatingCall":
        """See `grpc.Channel.unary_unary`."""
        return _RotatingCall(self, arguments, named)

    def current(self) -> "grpc.Channel":
        """The channel for calls from now on."""
        if self._generation != self._watched.generation:
            with self._lock:
                if self._generation != (newest := self._watched.generation):
                    # Closing a channel ends its calls: that of the rotation before has none.
                    if self._previous is not None:
                        self._previous.close()
                    self._previous, self._channel = self._channel, self._open()
                    self._generation = newest
        return self._channel

    def close(self) -> None:
        """Closes the connections."""
        with self._lock:
            for channel in (self._previous, self._channel):
                if channel is not None:
                    channel.close()


class _RotatingCall:
    """A method of a server, over the channel of the moment."""

    def __init__(self, channel: RotatingChannel, arguments: Any, named: Any):
        self._channel = channel
        self._build = lambda of: of.unary_unary(*arguments, **named)
        self._built = (channel.current(), self._build(channel.current()))

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._current()(*arguments, **named)

    def future(self, *arguments: Any, **named: Any) -> "grpc.Future":
        """See `grpc.UnaryUnaryMultiCallable.future`."""
        return self._current().future(*arguments, **named)

    def _current(self) -> "grpc.UnaryUnaryMultiCallable":
        channel, method = self._built
        if channel is not (newest := self._channel.current()):
            method = self._build(newest)
            self._built = (newest, method)
        return method
