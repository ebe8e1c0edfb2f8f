"""Which versions of a model are served: TF Serving's three policies.

Imports no TensorFlow.
"""

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """Chooses versions among those there are.

    Attributes:
        num_latest: The highest that many versions; None for another policy.
        specific: These versions, where they are there; None for another policy.
            With neither, all versions are served.
    """

    num_latest: int | None = 1
    specific: frozenset[int] | None = None

    def choose(self, versions: Iterable[int]) -> set[int]:
        """The versions to serve.

        >>> sorted(VersionPolicy(num_latest=2).choose([3, 12, 4]))
        [4, 12]
        >>> sorted(specific_versions([3, 5]).choose([3, 4]))
        [3]
        """
        if self.specific is not None:
            return set(versions) & self.specific
        if self.num_latest is not None:
            return set(sorted(versions)[-self.num_latest :])
        return set(versions)


LATEST = VersionPolicy()
"""TF Serving's default: the highest version alone."""

ALL_VERSIONS = VersionPolicy(num_latest=None)


def specific_versions(versions: Iterable[int]) -> VersionPolicy:
    """The policy that serves these versions and no others."""
    return VersionPolicy(num_latest=None, specific=frozenset(versions))
