"""One version of the release in memory: towers, recall service and live items.

They are loaded and dropped together, so that an answer never mixes versions.
"""

import contextlib
import functools
import gc
import logging
from collections.abc import Mapping
from typing import NamedTuple

from recall.errors import InputError
from serving.api.recall_limits import RecallLimits
from serving.api.recall_request import RECALL_MODEL, RecallRequest
from serving.batching.options import BatchingOptions
from serving.index.bundle import open_bundle, read_fallback
from serving.live.catalogue import LiveCatalogue
from serving.live.items import LiveItems
from serving.models.saved_model import SavedModelServable, read_signature_defs
from serving.models.servable import LoadLaterError, Servable
from serving.monitoring.metrics import Metrics
from serving.network.client_tls import NO_TLS, ClientTls
from serving.network.rotating_channel import RotatingTls
from serving.protocol.status import ServingError
from serving.release import manifest as manifests
from serving.release import retention
from serving.release.release import ITEM_TOWER, USER_TOWER, Release
from serving.retrieval.batched_recall import BatchedRecallService
from serving.retrieval.service import RecallService
from serving.retrieval.user_vectors import UserVectorSource
from serving.servables.counted_tower import count_values_of
from serving.servables.feature_values import ITEM_OWNERS, USER_OWNERS, FeatureValues
from serving.servables.item_embedding import item_embedder
from serving.servables.items_servable import ItemsServable
from serving.servables.recall_servable import RecallServable
from serving.servables.remote_model import RemoteModel
from serving.servables.towers import (
    PredictUserVectors,
    RemoteItemTower,
    ServedItemTower,
    TfServingUserVectors,
    item_vectors,
)
from serving.sharding.items import ShardedItems
from serving.sharding.service import ShardedRecallService

_LOGGER = logging.getLogger(__name__)


Items = LiveItems | ShardedItems


class _Towers(NamedTuple):
    """Where vectors come from, in this process or elsewhere.

    Attributes:
        user_vectors: Of histories.
        item_tower: Of items.
        servables: Those of the towers in this process, by name.
    """

    user_vectors: UserVectorSource
    item_tower: ServedItemTower
    servables: Mapping[str, Servable]


class _TowerValues(NamedTuple):
    """What counts the values of features, by the tower that looks at them."""

    of_users: FeatureValues
    of_items: FeatureValues


class LoadedRelease:
    """The servables of one version, and what has to be closed with them.

    Attributes:
        servables: By name of the model.
        asks_others: Whether the towers or the shards are in other processes.
    """

    def __init__(
        self,
        servables: Mapping[str, Servable],
        closing: contextlib.ExitStack,
        *,
        asks_others: bool,
    ):
        """Takes what `load_release` has made; `closing` drops it."""
        self.servables = servables
        self.asks_others = asks_others
        self._closing = closing

    def close(self) -> None:
        """Drops everything; a SavedModel is full of cycles that hold its memory."""
        self._closing.close()
        self.servables = {}
        gc.collect()


def load_release(
    release: Release,
    items: Items,
    *,
    tf_serving_address: str | None = None,
    tf_serving_tls: ClientTls | RotatingTls = NO_TLS,
    batching: BatchingOptions | None = None,
    limits: RecallLimits | None = None,
    metrics: Metrics | None = None,
) -> LoadedRelease:
    """Loads a release whose files are already verified.

    Args:
        release: What to load.
        items: Changes of the items; those of shards mean that the shards
            are searched, and the index of the release is not opened.
        tf_serving_address: `host:port` of a TF Serving that serves the
            towers; none is loaded into this process then.
        tf_serving_tls: Certificates of the connection to it.
        batching: How requests for the user tower share batches; None runs
            those, and those for items, each alone. Requests for items only
            share batches beside a tower of this process: their runners
            must not wait for a network.
        limits: Largest sizes of a recall request.
        metrics: Told of runs, batches and answers.

    Raises:
        InputError: A part is damaged, or the parts do not belong together.
        LoadLaterError: TF Serving or the shards do not answer, or from
            another release.
    """
    try:
        with contextlib.ExitStack() as closing:
            closing.enter_context(retention.held(release))
            values = _count_values(release, metrics, closing)
            if tf_serving_address is None:
                towers = _load_towers(release, batching, metrics, values)
            else:
                towers = _reach_towers(release, tf_serving_address, tf_serving_tls, closing, values)
            if isinstance(items, ShardedItems):
                service = _build_front(release, towers, items, limits)
            else:
                catalogue = _open_catalogue(release, towers, values.of_items)
                closing.callback(items.detach, catalogue)
                items.attach(catalogue)
                service = _build_service(towers, catalogue, limits, batching, metrics)
            models = (
                RecallServable(service, release.version, metrics),
                ItemsServable(items, release.version),
            )
            return LoadedRelease(
                {**towers.servables, **{model.name: model for model in models}},
                closing.pop_all(),
                asks_others=tf_serving_address is not None or isinstance(items, ShardedItems),
            )
    except (ServingError, InputError) as error:
        if tf_serving_address is None or isinstance(error, LoadLaterError):
            raise
        raise LoadLaterError(
            f"No user vectors from --tf_serving_address={tf_serving_address}: {error} "
            "Start TF Serving there first, with the user tower of this release."
        ) from error


def _load_towers(
    release: Release,
    batching: BatchingOptions | None,
    metrics: Metrics | None,
    values: _TowerValues,
) -> _Towers:
    """Both towers in this process, each a model of its own too."""
    user_tower = SavedModelServable(
        USER_TOWER, release.version, release.user_tower_dir, batching=batching, metrics=metrics
    )
    item_tower = SavedModelServable(
        ITEM_TOWER, release.version, release.item_tower_dir, metrics=metrics
    )
    return _Towers(
        PredictUserVectors(
            user_tower.predict_default, release.version, user_tower, values.of_users
        ),
        item_tower,
        {
            USER_TOWER: count_values_of(user_tower, values.of_users),
            ITEM_TOWER: count_values_of(item_tower, values.of_items),
        },
    )


def _reach_towers(
    release: Release,
    address: str,
    tls: ClientTls | RotatingTls,
    closing: contextlib.ExitStack,
    values: _TowerValues,
) -> _Towers:
    """Both towers behind the address of a TF Serving, in the version of the release."""
    user_vectors = TfServingUserVectors(
        address,
        USER_TOWER,
        version=release.version,
        tls=tls,
        signature_defs=read_signature_defs(release.user_tower_dir),
        values=values.of_users,
    )
    closing.callback(user_vectors.close)
    item_model = RemoteModel(address, ITEM_TOWER, version=release.version, tls=tls)
    closing.callback(item_model.close)
    return _Towers(user_vectors, RemoteItemTower(item_model, release.item_tower_dir), {})


def _count_values(
    release: Release, metrics: Metrics | None, closing: contextlib.ExitStack
) -> _TowerValues:
    """What counts the values of features that requests and upserts give."""
    user_manifest = manifests.read(release.user_tower_dir)
    item_manifest = manifests.read(release.item_tower_dir)
    values = _TowerValues(
        FeatureValues(USER_OWNERS, user_manifest, release.version, metrics),
        FeatureValues(ITEM_OWNERS, item_manifest, release.version, metrics),
    )
    for of_tower in values:
        closing.callback(of_tower.close)
    return values


def _open_catalogue(release: Release, towers: _Towers, values: FeatureValues) -> LiveCatalogue:
    """The items of the release, without the changes since."""
    bundle = open_bundle(release.index_dir, verify=False)  # Just verified.
    manifest = manifests.read(release.item_tower_dir)
    embed = item_embedder(towers.item_tower, manifest, values)
    catalogue = LiveCatalogue(bundle, version=release.version, embed=embed)
    if catalogue.common_categories:
        _LOGGER.info(
            "Version %d: nearly all items have the category %s, which counts neither for "
            "max_per_category nor for merge=diversity.",
            release.version,
            ", ".join(map(repr, catalogue.common_categories)),
        )
    return catalogue


def _build_service(
    towers: _Towers,
    catalogue: LiveCatalogue,
    limits: RecallLimits | None,
    batching: BatchingOptions | None,
    metrics: Metrics | None,
) -> RecallService | BatchedRecallService:
    """The service that searches the items here."""
    service = RecallService(towers.user_vectors, catalogue, limits=limits)
    if batching is None or USER_TOWER not in towers.servables:
        return service
    if metrics is None:
        return BatchedRecallService(service)
    report = functools.partial(metrics.count_batch, RECALL_MODEL)
    return BatchedRecallService(service, report=report)


def _build_front(
    release: Release, towers: _Towers, items: ShardedItems, limits: RecallLimits | None
) -> ShardedRecallService:
    """The service in front of the shards, once one of them answers."""
    popular = read_fallback(release.index_dir, manifests.read(release.index_dir))
    service = ShardedRecallService(
        towers.user_vectors,
        item_vectors(towers.item_tower, release.fingerprint),
        items.clients,
        popular,
        version=release.version,
        limits=limits,
    )
    try:
        service.recall([RecallRequest(history=tuple(popular[:1]))])
    except ServingError as error:
        raise LoadLaterError(
            f"No shard answers: {error} Start their servers first, with this release."
        ) from error
    return service
