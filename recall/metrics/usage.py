"""How evenly clicks are spread over prototypes."""

import numpy as np

_DEAD_SHARE = 0.01
"""Of an equal share: a prototype with less has next to nothing."""


def compute_perplexity(shares: np.ndarray) -> float:
    """exp(entropy): as many prototypes with equal shares would be as uneven.

    Args:
        shares: `[num_prototypes]` float, sum 1.

    >>> compute_perplexity(np.array([0.5, 0.5, 0.0, 0.0]))
    2.0
    """
    used = shares[shares > 0]
    return float(np.exp(-(used * np.log(used)).sum()))


def count_dead(shares: np.ndarray) -> int:
    """Prototypes with less than a hundredth of an equal share.

    Args:
        shares: `[num_prototypes]` float, sum 1.

    >>> count_dead(np.array([0.6, 0.399, 0.001]))
    1
    """
    return int((shares < _DEAD_SHARE / len(shares)).sum())
