"""A release as batches ask it: the user tower and the items in this process.

What a server asks too, so that its answers are the same. Changes of live items are a
server's own and not in it. Loads SavedModels and the index, no Keras.
"""

import contextlib
import functools
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.inference import contexts
from pipelines.inference.value_counts import BatchValues
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn
from serving.api.conditions import describe_unknown
from serving.api.recall_limits import RecallLimits
from serving.api.recall_request import REQUEST_FIELDS
from serving.index.bundle import open_bundle
from serving.index.bundle_catalogue import BundleCatalogue
from serving.index.catalogue import NO_ROW
from serving.models.saved_model import SavedModelServable, read_signature_defs
from serving.protocol.signatures import CONTEXT_SIGNATURE
from serving.release import manifest as manifests
from serving.release.release import USER_TOWER, Release
from serving.retrieval.conditions import unknown_categories, unknown_values
from serving.retrieval.service import RecallService
from serving.servables.towers import PredictUserVectors

_SHOWN = 3
"""Examples that a message names."""

_RESTRICTIONS = tuple(field.name for field in REQUEST_FIELDS if field.is_restriction)
"""Filters that leave out all that they do not name."""


class OpenedRelease:
    """The user tower and the index of one release, whose files are already verified.

    Attributes:
        release: Where it lies.
        source: Histories -> user vectors.
        values: Counts the values of features that users have.
        catalogue: The items.
        service: Requests -> answers.
    """

    def __init__(self, release: Release, limits: RecallLimits | None = None):
        """Loads both; takes seconds.

        Args:
            release: What to load.
            limits: Largest sizes of a request; None are those of a server.

        Raises:
            InputError: A file is missing or damaged.
        """
        self.release = release
        with _quiet():
            tower = SavedModelServable(USER_TOWER, release.version, release.user_tower_dir)
        self.values = BatchValues(manifests.read(release.user_tower_dir))
        self.source = PredictUserVectors(tower.predict_default, release.version, tower, self.values)
        bundle = open_bundle(release.index_dir, verify=False)
        self.catalogue = BundleCatalogue(bundle, version=release.version)
        self.service = RecallService(self.source, self.catalogue, limits=limits)

    def known_ids(self, item_ids: Sequence[str]) -> set[str]:
        """Those of some raw ids that are items."""
        distinct = list(dict.fromkeys(item_ids))
        rows = self.catalogue.rows_of([item_id.encode() for item_id in distinct])
        return {item_id for item_id, row in zip(distinct, rows, strict=True) if row != NO_ROW}

    def check_filters(self, fields: Mapping[str, Any]) -> list[str]:
        """What the filters of a request name without need.

        Args:
            fields: Of `RecallRequest`.

        Returns:
            A line for each filter with names of nothing; they count for nothing.

        Raises:
            InputError: No item is left, because a filter names nothing else.
        """
        lines = []
        for name in ("categories", "exclude_categories"):
            names = fields.get(name, ())
            unknown = unknown_categories(self.catalogue, names)
            lines += _check_filter(name, names, unknown, "category")
        names = unknown_values(self.catalogue, fields.get("where"), fields.get("boosts", ()))
        lines += [describe_unknown(names)] if names else []
        allowed = fields.get("allow", ())
        known = self.known_ids(allowed)
        unknown = [item_id for item_id in allowed if item_id not in known]
        return lines + _check_filter("allow", allowed, unknown, "item")


def wanted_of(release: Release) -> contexts.Wanted:
    """What the user tower of a release looks at beside items."""
    signature = read_signature_defs(release.user_tower_dir).get(CONTEXT_SIGNATURE)
    inputs = {} if signature is None else signature.inputs
    manifest = manifests.read(release.user_tower_dir)
    declared = [*manifest.get("user_features", ()), *manifest.get("log_features", ())]
    features = [column for column in map(_column, declared) if column.kind != "timestamp"]
    of_clicks = tuple(column for column in features if column.owner == "event")
    of_users = tuple(column for column in features if column.owner != "event")
    return contexts.Wanted(contexts.CLICK_TIMES in inputs, of_clicks, of_users)


def _column(values: dict[str, Any]) -> FeatureColumn:
    parts = {"parts": tuple(values["parts"])} if "parts" in values else {}
    return FeatureColumn(**{**values, **parts})


def _check_filter(name: str, names: Sequence[str], unknown: Sequence[str], what: str) -> list[str]:
    if not unknown:
        return []
    text = f"`{name}` names what is no {what} of this release: {examples(unknown)}"
    if set(unknown) == set(names) and name in _RESTRICTIONS:
        raise InputError(f"{text}. No item is left. Name at least one {what} of the release.")
    return [f"{text}; passed over."]


def examples(values: Sequence[str]) -> str:
    """A few of some values, each once.

    >>> examples(["a", "b", "a", "c", "d"])
    "'a', 'b', 'c' ..."
    """
    shown = list(dict.fromkeys(values))[: _SHOWN + 1]
    return ", ".join(map(repr, shown[:_SHOWN])) + (" ..." if len(shown) > _SHOWN else "")


BATCH_LIMITS = RecallLimits(
    # A history is a row of a file here, not a message of a stranger.
    max_history_length=1 << 31,
    max_batch_size=1 << 16,
    max_queries=1 << 20,
)
"""Sizes of the requests that a job makes itself; what its user chooses is as bounded as a
server's."""

_LOCK = threading.Lock()


def open_once(release: Release) -> OpenedRelease:
    """The release, opened once for all steps of a job in this process."""
    with _LOCK:  # A second thread would load it a second time.
        return _open(release)


@functools.lru_cache(maxsize=1)
def _open(release: Release) -> OpenedRelease:
    return OpenedRelease(release, BATCH_LIMITS)


def close_all() -> None:
    """Forgets what `open_once` opened: a job is done."""
    with _LOCK:
        _open.cache_clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without TensorFlow's warnings about gradients of a model that is only asked."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
