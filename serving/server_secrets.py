"""The files of a server that are rotated while it runs: certificates and the admin token."""

from collections.abc import Callable
from typing import NamedTuple

from serving.doors import admin
from serving.network.rotating_channel import RotatingTls
from serving.network.tls import ServerTls
from serving.network.watched_files import Watched, WatchedFiles
from serving.server_options import ServerOptions


class ServerSecrets(NamedTuple):
    """What the files say now.

    Attributes:
        doors: Certificates of both doors; None speaks without encryption.
        tf_serving: Certificates of calls to the towers' server.
        shards: Certificates of calls to the shards.
        token_file: The admin token, where it is in a file.
        fixed_token: The admin token, where it is not.
    """

    doors: ServerTls | None
    tf_serving: RotatingTls
    shards: RotatingTls
    token_file: WatchedFiles[str] | None
    fixed_token: str | None

    @classmethod
    def read(cls, options: ServerOptions) -> "ServerSecrets":
        """Reads what the options name.

        Raises:
            InputError: A file does not work.
        """
        path = options.admin_token_file
        return cls(
            None if options.tls is None else ServerTls(options.tls),
            RotatingTls(options.tf_serving_tls),
            RotatingTls(options.shards_tls),
            None if path is None else admin.watched_token(path),
            options.admin_token,
        )

    @property
    def admin_token(self) -> str | Callable[[], str] | None:
        """The token, or what tells the one of the moment."""
        if self.token_file is None:
            return self.fixed_token
        watched = self.token_file
        return lambda: watched.content

    def watched(self) -> list[Watched]:
        """All that may change."""
        found = (self.doors, self.tf_serving, self.shards, self.token_file)
        return [one for one in found if one is not None]
