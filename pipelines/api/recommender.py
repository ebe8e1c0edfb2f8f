"""`Recommender`: recommendations of a published release in this process.

The release is opened when something is first asked of it.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.api import local_server, paths, tables
from pipelines.api.local_release import CatalogueVectors, LocalRelease, open_release
from recall.errors import InputError
from serving.api import caller
from serving.api.recall_request import RecallResponse
from serving.api.request_fields import Kind, read_value
from serving.release import release as releases
from serving.retrieval.user_vectors import UserVectors

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from pipelines.api.tables import Table
    from serving.api.caller import RequestFields

    Histories = Sequence[Sequence[str]] | Mapping[Any, Sequence[str]]
    """A list of histories of raw item ids, oldest first, or a dict of them by any name."""

USER, SIMILAR_TO = "user", "similar_to"
"""Columns that say whom an item is for."""


class Recommender:
    """A published release: recommendations in this process, without a server.

    Attributes:
        serving_dir: The folder of its versions; the newest is used.
    """

    def __init__(self, serving_dir: str | os.PathLike):
        """Names a folder of releases; it is opened when something is asked."""
        self.serving_dir = paths.read("serving_dir", serving_dir)

    @functools.cached_property
    def _local(self) -> LocalRelease:
        return open_release(self.serving_dir)

    @property
    def version(self) -> int:
        """Number of the newest version.

        Raises:
            InputError: There is none.
        """
        return releases.latest_release(self.serving_dir).version

    def recommend(
        self,
        users: Sequence[str] | str | None = None,
        k: int = 20,
        *,
        histories: "Histories | None" = None,
        popular: bool = False,
        with_metadata: bool = True,
        **fields: "Unpack[RequestFields]",
    ) -> "Table":
        """Items for users, or for histories.

        Items of the history are left out (`include_seen=True` keeps them). Ids that are no items
        are passed over, with a warning that counts them.

        Args:
            users: Raw ids of users of the run, one or several; a release knows none.
            k: Items for each.
            histories: Instead of users: raw item ids, oldest first, a list for each; or a dict
                of such lists.
            popular: Whether a history without a known item gets the popular items; else it is
                an error, but where the `context` has a feature of the user that the model knows.
            with_metadata: Whether titles and categories are columns.
            **fields: Filters and more, as `recall.Client.recommend`: `categories`, `exclude`,
                `allow`, `max_per_category`, `merge`, `interest_weights`, `exact`, `context` ...

        Returns:
            A row per item, best first within its user, with the columns `user` (the id, the name
            in the dict, or the number of the history from 0), `rank` from 1, `item_id`, `score`,
            `interest` (which of the user's interests found it; -1 for popular items), and
            `title`, `categories`. A `pandas.DataFrame` where pandas is installed, else a
            `pyarrow.Table`.

        Raises:
            InputError: A user is unknown, a history is empty, or a field is wrong.
        """
        names, raw = self._histories(users, histories)
        asked = {**caller.plain_fields(fields), "with_metadata": with_metadata}
        k = caller.plain_value("k", k)
        answers = self._local.recommend(raw, names, k, asked, popular=popular)
        return _to_table(USER, names, answers, with_metadata)

    def similar_items(
        self,
        item_ids: Sequence[str] | str,
        k: int = 20,
        *,
        with_metadata: bool = True,
        **fields: "Unpack[RequestFields]",
    ) -> "Table":
        """For each item those like it, which are never the item itself.

        Returns:
            As `recommend`, with the column `similar_to` in the place of `user` and `interest`.

        Raises:
            InputError: An id is no item of the release; the text counts them.
        """
        ids = _texts("item_ids", [item_ids] if isinstance(item_ids, str) else item_ids)
        asked = {**caller.plain_fields(fields), "with_metadata": with_metadata}
        answers = self._local.similar_items(ids, caller.plain_value("k", k), asked)
        return _to_table(SIMILAR_TO, ids, answers, with_metadata)

    def user_vectors(
        self,
        users: Sequence[str] | str | None = None,
        *,
        histories: "Histories | None" = None,
    ) -> UserVectors:
        """The interests of users, or of histories; arguments as `recommend`.

        Returns:
            `user_vectors [n, num_interests, dim]` float32 with `interest_weights
            [n, num_interests]`, and counts of known and unknown ids, in the given order.

        Raises:
            InputError: A user is unknown, or none is given.
        """
        _, raw = self._histories(users, histories)
        return self._local.user_vectors(raw)

    def item_vectors(self) -> CatalogueVectors:
        """All items: `item_ids`, and `vectors [num_items, dim]` float32, row by row."""
        return self._local.catalogue_vectors()

    def serve(self, **flags: Any) -> local_server.LocalServer:
        """Serves it from a process of its own; see `recall.serve`."""
        return local_server.serve(self, **flags)

    def _histories(
        self, users: Sequence[str] | str | None, histories: "Histories | None"
    ) -> tuple[list[Any], list[tuple[str, ...]]]:
        """Names and histories of a call."""
        if (users is None) == (histories is None):
            raise InputError("Give either users=[...] or histories=[[...], ...].")
        if users is not None:
            names = _texts("users", [users] if isinstance(users, str) else users)
            return names, self._histories_of(names)
        if isinstance(histories, Mapping):
            names, given = list(histories), list(histories.values())
        else:
            given = list(histories) if hasattr(histories, "__iter__") else [histories]
            names = list(range(len(given)))
        if any(isinstance(history, str) or not hasattr(history, "__iter__") for history in given):
            raise InputError("Give a list of histories, each a list of ids: [['12', '57'], ['3']].")
        if not given:
            raise InputError("There is no history. Give at least one.")
        return names, [tuple(_texts("histories", history)) for history in given]

    def _histories_of(self, user_ids: list[str]) -> list[tuple[str, ...]]:
        raise InputError(
            f"The release in {self.serving_dir} knows no users, as a run does. "
            "Give histories=[...]."
        )

    def __repr__(self) -> str:
        versions = releases.complete_versions(self.serving_dir)
        newest = f"version {versions[-1]}" if versions else "no version"
        return f"{type(self).__name__}({str(self.serving_dir)!r}, {newest})"


def _texts(name: str, ids: Any) -> list[str]:
    """Raw ids as texts; whole numbers are taken as their digits."""
    return list(read_value(name, Kind.TEXTS, ids))


def _to_table(
    column: str, names: Sequence[Any], answers: Sequence[RecallResponse], with_metadata: bool
) -> "Table":
    """Answers as one table."""
    items = [
        (n, rank, i)
        for n, a in zip(names, answers, strict=True)
        for rank, i in enumerate(a.items, 1)
    ]
    columns = {
        column: [name for name, _, _ in items],
        "rank": [rank for _, rank, _ in items],
        "item_id": [item.item_id for _, _, item in items],
        "score": [float(item.score) for _, _, item in items],
    }
    if column == USER:
        columns["interest"] = [int(item.interest) for _, _, item in items]
    if with_metadata:
        columns["title"] = [title for answer in answers for title in answer.metadata.titles]
        columns["categories"] = [list(c) for answer in answers for c in answer.metadata.categories]
    return tables.to_table(columns)
