"""Live items as a model of TF Serving's Predict API, with three signatures.

`upsert` and `delete` change the catalogue and need the admin token where the
server has one; `status` says how many changes there are.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from recall.errors import InputError
from serving.api import items_tensors
from serving.api.item_changes import ITEMS_MODEL, MAX_CHANGES, ItemChanger
from serving.api.items_tensors import DELETE, UPSERT
from serving.models.servable import Servable
from serving.protocol import signatures


class ItemsServable(Servable):
    """See `servable.Servable`."""

    admin_signatures = (UPSERT, DELETE)

    def __init__(self, live_items: ItemChanger, version: int):
        """Wraps the live items of a server; `version` is the release's."""
        self.name = ITEMS_MODEL
        self.version = version
        self.live_items = live_items
        self.signature_defs = items_tensors.items_signature_defs()

    def check_shapes(self, signature_name: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuses more changes than one call may make, before they are decoded.

        Raises:
            InputError: There are more.
        """
        size = max((shape[0] for shape in shapes.values()), default=0)
        if size > MAX_CHANGES:
            raise InputError(f"One call changes 1 to {MAX_CHANGES} items, received {size}.")

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
        *,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Makes a change and acknowledges it, or tells the status.

        Args:
            signature_name: `upsert`, `delete` or `status`.
            inputs: `item_ids [n]`; for an upsert optionally `categories
                [n, width]`, `titles [n]` and `vectors [n, dim]`.
            output_filter: Outputs wanted; none means all.
            timeout_s: Not looked at: a change is made or refused in milliseconds.

        Returns:
            Outputs by name, each one int64.

        Raises:
            InputError: An item is not valid, or no vector can be had for it.
            ServingError: The request does not fit the signature, or the change
                cannot be written.
        """
        signature = signatures.find_signature(self.signature_defs, signature_name)
        complete = signatures.check_inputs(signature, inputs)
        selected = signatures.select_outputs(signature, output_filter)
        if signature_name == UPSERT:
            items = items_tensors.parse_upserts(complete)
            answer = self.live_items.upsert(items, version=self.version)._asdict()
        elif signature_name == DELETE:
            item_ids = items_tensors.parse_changed_ids(complete)
            answer = self.live_items.delete(item_ids, version=self.version)._asdict()
        else:
            answer = self.live_items.status()
        return {name: np.asarray(answer[name], np.int64) for name in selected}

    def warm_up(self) -> None:
        """Nothing waits: a change runs no graph but the item tower's."""
        self.live_items.status()
