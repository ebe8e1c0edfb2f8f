"""A tower that callers ask by its own name: values of features are counted as in other requests."""

from collections.abc import Mapping, Sequence, Set

import numpy as np

from serving.models.saved_model import SavedModelServable
from serving.models.servable import Servable
from serving.protocol import signatures
from serving.protocol.signatures import VALUE_COUNTS
from serving.servables.feature_values import ValueCounter


def count_values_of(tower: SavedModelServable, values: ValueCounter) -> Servable:
    """The tower as it is to be served by its own name; itself, where it counts no values.

    Args:
        tower: What answers.
        values: Told of the values of features that callers give.
    """
    outputs = set(VALUE_COUNTS.values())
    names = {n for n, of in tower.signature_defs.items() if outputs & set(of.outputs)}
    return _CountedTower(tower, values, names) if names else tower


class _CountedTower(Servable):
    """See `count_values_of`.

    What the server itself asks the tower for goes past it: there who asks does the counting.
    """

    def __init__(self, tower: SavedModelServable, values: ValueCounter, counting: Set[str]):
        self.name, self.version = tower.name, tower.version
        self.signature_defs = tower.signature_defs
        self._tower, self._values, self._counting = tower, values, counting

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str] = (),
        *,
        timeout_s: float | None = None,
    ) -> dict[str, np.ndarray]:
        """See `SavedModelServable`."""
        if signature_name not in self._counting:
            return self._tower.predict(signature_name, inputs, output_filter, timeout_s=timeout_s)
        signature = self.signature_defs[signature_name]
        selected = signatures.select_outputs(signature, output_filter)
        outputs = self._tower.predict(signature_name, inputs, timeout_s=timeout_s)
        self._values.count(outputs)
        return {name: outputs[name] for name in selected}

    def warm_up(self) -> None:
        """See `Servable`; these are nobody's values."""
        self._tower.warm_up()
