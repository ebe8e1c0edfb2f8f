"""One version of the release in memory: towers, index and recall service.

They are loaded and dropped together, so that an answer never mixes versions.
"""

import gc
from collections.abc import Callable, Mapping

from recall.errors import InputError
from serving.batching_options import BatchingOptions
from serving.bundle import open_bundle
from serving.metrics import Metrics
from serving.recall_servable import RecallServable
from serving.recall_service import RecallService
from serving.recall_types import MODEL_NAME, RecallLimits
from serving.release import ITEM_TOWER, USER_TOWER, Release
from serving.saved_model import SavedModelServable
from serving.servable import Servable
from serving.status import ServingError
from serving.user_vectors import PredictUserVectors, TfServingUserVectors, UserVectorSource


class LoadLaterError(InputError):
    """A version that may load later although none of its files changes."""


class LoadedRelease:
    """The servables of one version, and what has to be closed with them.

    Attributes:
        servables: By name of the model.
    """

    def __init__(
        self,
        release: Release,
        *,
        tf_serving_address: str | None = None,
        batching: BatchingOptions | None = None,
        limits: RecallLimits | None = None,
        metrics: Metrics | None = None,
    ):
        """Loads a release whose files are already verified.

        Args:
            release: What to load.
            tf_serving_address: `host:port` of a TF Serving that serves the
                user tower; no tower is loaded into this process then.
            batching: How requests for the user tower share batches.
            limits: Largest sizes of a recall request.
            metrics: Told of runs and batches.

        Raises:
            InputError: A part is damaged, or the parts do not belong together.
            LoadLaterError: TF Serving does not answer, or from another release.
        """
        self._close: Callable[[], None] = lambda: None
        self.servables: Mapping[str, Servable] = {}
        if tf_serving_address is None:
            user_tower = SavedModelServable(
                USER_TOWER,
                release.version,
                release.user_tower_dir,
                batching=batching,
                metrics=metrics,
            )
            item_tower = SavedModelServable(
                ITEM_TOWER, release.version, release.item_tower_dir, metrics=metrics
            )
            source = PredictUserVectors(user_tower.predict_default, release.version)
            self.servables = {USER_TOWER: user_tower, ITEM_TOWER: item_tower}
        else:
            source = TfServingUserVectors(tf_serving_address, USER_TOWER)
            self._close = source.close
        try:
            service = self._build_service(release, source, limits)
        except (ServingError, InputError) as error:
            self.close()
            if tf_serving_address is None:
                raise
            raise LoadLaterError(
                f"No user vectors from --tf_serving_address={tf_serving_address}: {error} "
                "Start TF Serving there first, with the user tower of this release."
            ) from error
        self.servables = {**self.servables, MODEL_NAME: RecallServable(service, release.version)}

    def _build_service(
        self, release: Release, source: UserVectorSource, limits: RecallLimits | None
    ) -> RecallService:
        bundle = open_bundle(release.index_dir, verify=False)  # Just verified.
        return RecallService(source, bundle, index_version=release.version, limits=limits)

    def close(self) -> None:
        """Drops everything; a SavedModel is full of cycles that hold its memory."""
        self._close()
        self.servables = {}
        gc.collect()
