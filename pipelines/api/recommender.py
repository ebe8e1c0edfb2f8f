"""`Recommender`: recommendations of a published release in this process.

The release is opened when something is first asked of it.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.api import local_server, paths, tables
from pipelines.api.local_release import CatalogueVectors, LocalRelease, open_release
from pipelines.api.stored_users import StoredUser
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
            users: Raw ids of users of the run, one or several; a release knows none. They are
                answered from all that the run has of them, as by `recall recommend`: their
                clicks, and where the model looks at these the features and times of the clicks,
                and the features of the users file. The request is made when the log ends.
            k: Items for each.
            histories: Instead of users: raw item ids, oldest first, a list for each; or a dict
                of such lists.
            popular: Whether a history without a known item gets the popular items; else it is
                an error, but where the `context` has a feature of the user that the model knows.
            with_metadata: Whether titles and categories are columns.
            **fields: Filters and more, as `recall.Client.recommend`: `categories`, `exclude`,
                `allow`, `max_per_category`, `merge`, `interest_weights`, `exact` ... What
                `context` says holds for all of the call; of users it goes before what the run
                has, name by name, and None stands for what is not known: `{"country": None}`.

        Returns:
            A row per item, best first within its user, with the columns `user` (the id, the name
            in the dict, or the number of the history from 0), `rank` from 1, `item_id`, `score`,
            `interest` (which of the user's interests found it; -1 for popular items), and
            `title`, `categories`. A `pandas.DataFrame` where pandas is installed, else a
            `pyarrow.Table`.

        Raises:
            InputError: A user is unknown, a history is empty, or a field is wrong.
        """
        names, subjects = self._subjects(users, histories)
        subjects = _with_said(subjects, fields.pop("context", None))
        asked = {**caller.plain_fields(fields), "with_metadata": with_metadata}
        k = caller.plain_value("k", k)
        answers = self._local.recommend(subjects, names, k, asked, popular=popular)
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
        context: Mapping[str, Any] | None = None,
    ) -> UserVectors:
        """The interests of users, or of histories; arguments as `recommend`.

        Returns:
            `user_vectors [n, num_interests, dim]` float32 with `interest_weights
            [n, num_interests]`, and counts of known and unknown ids, in the given order.

        Raises:
            InputError: A user is unknown, none is given, or the context makes no sense.
        """
        _, subjects = self._subjects(users, histories)
        return self._local.user_vectors(_with_said(subjects, context))

    def item_vectors(self) -> CatalogueVectors:
        """All items: `item_ids`, and `vectors [num_items, dim]` float32, row by row."""
        return self._local.catalogue_vectors()

    def serve(self, **flags: Any) -> local_server.LocalServer:
        """Serves it from a process of its own; see `recall.serve`."""
        return local_server.serve(self, **flags)

    def _subjects(
        self, users: Sequence[str] | str | None, histories: "Histories | None"
    ) -> tuple[list[Any], list[StoredUser]]:
        """Names of a call, and what is known of each."""
        if (users is None) == (histories is None):
            raise InputError("Give either users=[...] or histories=[[...], ...].")
        if users is not None:
            names = _texts("users", [users] if isinstance(users, str) else users)
            return names, self._read_users(names)
        if isinstance(histories, Mapping):
            names, given = list(histories), list(histories.values())
        else:
            given = list(histories) if hasattr(histories, "__iter__") else [histories]
            names = list(range(len(given)))
        if any(isinstance(history, str) or not hasattr(history, "__iter__") for history in given):
            raise InputError("Give a list of histories, each a list of ids: [['12', '57'], ['3']].")
        if not given:
            raise InputError("There is no history. Give at least one.")
        return names, [StoredUser(tuple(_texts("histories", history))) for history in given]

    def _read_users(self, user_ids: list[str]) -> list[StoredUser]:
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


def _with_said(subjects: Sequence[StoredUser], context: Any) -> list[StoredUser]:
    """The same with what a call says of all of them; None in it: a value is not known."""
    said = caller.plain_value("context", context)
    if context is not None:
        said = {**dict.fromkeys(map(str, context)), **said}
    return [subject.with_said(said) for subject in subjects]


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
