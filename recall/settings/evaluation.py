"""The section `evaluation` of the settings: metrics, and the gate of a release.

Imports no TensorFlow.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from recall.errors import InputError
from recall.plain_values import require_choice, require_setting
from recall.thresholds import EXTRA_BASELINES, MetricKey, parse_threshold

_MAIN_CUT_OFF = 10


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """Metrics, and the gate a release has to pass."""

    ks: tuple[int, ...] = (5, 10, 20, 50)
    """Cut-offs of the ranking metrics."""
    exclude_seen: bool = True
    """Whether items of the history are removed from the candidates."""
    extra_baselines: tuple[str, ...] = ()
    """Baselines beside popularity and bigram: `item_knn` and `ease`, which take longer on
    large catalogues and tell how much of a model's gain is its order of clicks."""
    thresholds: tuple[str, ...] = (
        "test.ndcg@10 > baselines.popularity.ndcg@10",
        "test.ndcg@10 > baselines.bigram.ndcg@10",
    )
    """Blessing: every `<metric> > <metric or number>` (also >=, <, <=) must hold;
    `test.ndcg@10[buy]` is that of the test events of the kind `buy`. A model that
    counting beats is no use; but `loss.negatives=queue`, which gives up logged clicks for
    lists with fewer popular items, may need other conditions (docs/operations.md)."""

    def __post_init__(self):
        require_setting(bool(self.ks), "evaluation.ks", self.ks, "a list of at least one cut-off")
        require_setting(min(self.ks) >= 1, "evaluation.ks", self.ks, "numbers >= 1")
        for name in self.extra_baselines:
            require_choice("evaluation.extra_baselines", name, EXTRA_BASELINES)
        try:
            for text in self.thresholds:
                parse_threshold(text)
        except ValueError as error:
            raise InputError(f"Config key `evaluation.thresholds`: {error}.") from error

    @property
    def all_ks(self) -> tuple[int, ...]:
        """The cut-offs to compute: `ks` and those of the thresholds, ascending."""
        return tuple(sorted({*self.ks, *(key.k for key in self._keys)}))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of events that thresholds name, each once."""
        return tuple(dict.fromkeys(key.kind for key in self._keys if key.kind is not None))

    @property
    def _keys(self) -> list[MetricKey]:
        """All metrics that thresholds name."""
        return [key for text in self.thresholds for key in parse_threshold(text).keys]


def main_cut_off(ks: Iterable[int]) -> int:
    """The cut-off that tables for people are about: the one nearest to 10.

    >>> main_cut_off([5, 20, 50])
    5
    """
    return min(ks, key=lambda k: (abs(k - _MAIN_CUT_OFF), k))


def shown_cut_offs(ks: Sequence[int]) -> tuple[int, ...]:
    """Cut-offs of what few clicks are about: the main one, and the largest.

    >>> shown_cut_offs([5, 10, 20, 50]), shown_cut_offs([10])
    ((10, 50), (10,))
    """
    return tuple(sorted({main_cut_off(ks), max(ks)}))
