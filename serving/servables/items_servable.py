"""Live items as a model of TF Serving's Predict API, with five signatures.

`upsert` and `delete` change the catalogue and need the admin token where the
server has one; `status` says how many changes there are, `search` and `lookup`
find items.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from recall.errors import InputError
from serving.api.item_changes import ITEMS_MODEL, MAX_CHANGES
from serving.api.item_search import ServedItems
from serving.api.items_tensors import DELETE, LOOKUP, SEARCH, UPSERT
from serving.models.servable import Servable
from serving.protocol import signatures
from serving.servables import items_rows


class ItemsServable(Servable):
    """See `servable.Servable`."""

    admin_signatures = (UPSERT, DELETE)

    def __init__(self, live_items: ServedItems, version: int):
        """Wraps the live items of a server; `version` is the release's."""
        self.name = ITEMS_MODEL
        self.version = version
        self.live_items = live_items
        self.signature_defs = items_rows.items_signature_defs()

    def check_shapes(self, signature_name: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuses more items than one call may name, before they are decoded.

        Raises:
            InputError: There are more.
        """
        size = max((shape[0] for shape in shapes.values() if shape), default=0)
        if size > MAX_CHANGES:
            raise InputError(f"One call takes 1 to {MAX_CHANGES} items, received {size}.")

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
        *,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Makes a change and acknowledges it, tells the status, or finds items.

        Args:
            signature_name: `upsert`, `delete`, `status`, `search` or `lookup`.
            inputs: `item_ids [n]`; for an upsert optionally `categories
                [n, width]`, `titles [n]` and `vectors [n, dim]`; for a search
                `query` and optionally `k`.
            output_filter: Outputs wanted; none means all.
            timeout_s: Time left to find items; a change is made or refused in
                milliseconds.

        Returns:
            Outputs by name; of changes and the status each is one int64.

        Raises:
            InputError: An item is not valid, or no vector can be had for it.
            ServingError: The request does not fit the signature, or the change
                cannot be written.
        """
        signature = signatures.find_signature(self.signature_defs, signature_name)
        complete = signatures.check_inputs(signature, inputs)
        selected = signatures.select_outputs(signature, output_filter)
        if signature_name in (SEARCH, LOOKUP):
            outputs = self._find(signature_name, complete, timeout_s)
            return {name: outputs[name] for name in selected}
        if signature_name == UPSERT:
            items = items_rows.parse_upserts(complete)
            answer = self.live_items.upsert(items, version=self.version)._asdict()
        elif signature_name == DELETE:
            item_ids = items_rows.parse_changed_ids(complete)
            answer = self.live_items.delete(item_ids, version=self.version)._asdict()
        else:
            answer = self.live_items.status()
        return {name: np.asarray(answer[name], np.int64) for name in selected}

    def _find(
        self, signature_name: str, inputs: Mapping[str, np.ndarray], timeout_s: float | None
    ) -> dict[str, np.ndarray]:
        """All outputs of `search` or `lookup`."""
        if signature_name == SEARCH:
            query, k = items_rows.parse_search(inputs)
            found = self.live_items.search(query, k, version=self.version, timeout_s=timeout_s)
            return items_rows.build_found(found)
        item_ids = items_rows.parse_changed_ids(inputs)
        items = self.live_items.look_up(item_ids, version=self.version, timeout_s=timeout_s)
        return items_rows.build_items(items)

    def warm_up(self) -> None:
        """Nothing waits: a change runs no graph but the item tower's."""
        self.live_items.status()
