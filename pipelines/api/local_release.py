"""A published release opened in this process: recommendations without a server.

Loads SavedModels and the index, no Keras: it works beside any version of it.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipelines.api.stored_users import StoredUser
from pipelines.inference.opened_release import OpenedRelease, examples, wanted_of
from recall.errors import InputError
from recall.vocabulary import check_item_ids
from serving.api.recall_request import RecallRequest, RecallResponse
from serving.release import release as releases
from serving.release.release import Release
from serving.retrieval.user_vectors import UserVectors

_BATCH = 256
"""Histories of one call: bounds the memory of the search."""


class CatalogueVectors(NamedTuple):
    """All items of a release, row by row; popular ones first.

    Attributes:
        item_ids: `[num_items]` raw ids.
        vectors: `[num_items, dim]` float32. An item's score for a user is its largest inner
            product with one of the user's vectors.
    """

    item_ids: list[str]
    vectors: np.ndarray


class LocalRelease:
    """The user tower and the index of one release.

    Attributes:
        version: Its number.
        wanted: What its user tower looks at beside items.
    """

    def __init__(self, release: Release):
        """Loads and checks both; takes seconds.

        Raises:
            InputError: A file is missing or damaged.
        """
        releases.verify(release)
        self.version = release.version
        self._opened = OpenedRelease(release)
        self.wanted = wanted_of(release)

    @property
    def num_items(self) -> int:
        """Items of the index."""
        return self._opened.catalogue.num_items

    def recommend(
        self,
        users: Sequence[StoredUser],
        names: Sequence[Any],
        k: int,
        fields: Mapping[str, Any],
        *,
        popular: bool,
    ) -> list[RecallResponse]:
        """Answers for users.

        Args:
            users: Their histories, and what is known beside.
            names: What a message calls each of them.
            k: Items wanted.
            fields: Of `RecallRequest`, but for the context.
            popular: Whether a history without a known item gets popular items; else it is an
                error.

        Raises:
            InputError: A history has no known item, and the context no known feature of the
                user; a field is wrong; or a filter names nothing that is here.
        """
        self._report_unknown([user.history for user in users])
        self._check_filters(fields)
        answers = self._ask([RecallRequest(k=k, **{**fields, **u._asdict()}) for u in users])
        for name, (history, _), answer in zip(names, users, answers, strict=True):
            if answer.is_fallback and not popular:  # No feature in the context answers it either.
                what = "is empty" if not history else "has no item of this release"
                raise InputError(
                    f"The history {name!r} {what}. Leave it out, or pass popular=True for "
                    "popular items."
                )
        return answers

    def similar_items(
        self, item_ids: Sequence[str], k: int, fields: Mapping[str, Any]
    ) -> list[RecallResponse]:
        """For each item those like it.

        Raises:
            InputError: One is no item of the release, or a filter names nothing that is here.
        """
        known = self._are_known(item_ids)
        unknown = [item_id for item_id in item_ids if item_id not in known]
        if unknown:
            raise InputError(
                f"{_no_items(unknown, item_ids)} of this release: {examples(unknown)}."
            )
        self._check_filters(fields)
        return self._ask([RecallRequest(similar_to=(i,), k=k, **fields) for i in item_ids])

    def user_vectors(self, users: Sequence[StoredUser]) -> UserVectors:
        """See `Recommender.user_vectors`."""
        parts = []
        for start in range(0, len(users), _BATCH):
            histories, contexts = zip(*users[start : start + _BATCH], strict=True)
            parts.append(self._opened.source.compute(histories, contexts=contexts))
        arrays = [np.concatenate([part[column] for part in parts]) for column in range(4)]
        return UserVectors(*arrays, parts[0].fingerprint, self.version)

    def catalogue_vectors(self) -> CatalogueVectors:
        """See `Recommender.item_vectors`."""
        view = self._opened.catalogue
        rows = view.rows()
        ids = [item_id.decode() for item_id in view.item_ids(rows).tolist()]
        return CatalogueVectors(ids, view.vectors(rows))

    def _ask(self, requests: Sequence[RecallRequest]) -> list[RecallResponse]:
        answers: list[RecallResponse] = []
        for start in range(0, len(requests), _BATCH):
            answers += self._opened.service.recall(requests[start : start + _BATCH])
        return answers

    def _are_known(self, item_ids: Sequence[str]) -> set[str]:
        check_item_ids(list(dict.fromkeys(item_ids)))
        return self._opened.known_ids(item_ids)

    def _report_unknown(self, histories: Sequence[tuple[str, ...]]) -> None:
        ids = [item_id for history in histories for item_id in history]
        known = self._are_known(ids)
        unknown = [item_id for item_id in ids if item_id not in known]
        if unknown:
            warnings.warn(
                f"In the histories, {_no_items(unknown, ids)} of this release: "
                f"{examples(unknown)}; passed over.",
                stacklevel=4,
            )

    def _check_filters(self, fields: Mapping[str, Any]) -> None:
        """Tells of names of a filter that name nothing; see `RecallRequest`.

        Raises:
            InputError: No item is left, because it names nothing else.
        """
        self._are_known(fields.get("allow", ()))  # Also refuses what can be no id.
        for line in self._opened.check_filters(fields):
            warnings.warn(line, stacklevel=4)


def _no_items(unknown: Sequence[str], asked: Sequence[str]) -> str:
    """`1 of 2 ids is no item`."""
    verb = "is no item" if len(unknown) == 1 else "are no items"
    return f"{len(unknown)} of {len(asked)} ids {verb}"


def open_release(serving_dir: str | os.PathLike) -> LocalRelease:
    """The newest release of a folder.

    Raises:
        InputError: There is none, or it is damaged.
    """
    return LocalRelease(releases.latest_release(Path(serving_dir)))
